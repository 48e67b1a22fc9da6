"""Where tasks run: in the calling thread, or in threads that are watched."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

STUCK_S = 60.0
"""A task that runs longer than this counts as stuck: decoding the largest image takes a few seconds."""

P = ParamSpec("P")
R = TypeVar("R")


class InlineExecutor(Executor):
    """Runs what it is given at once, in the calling thread: for work that has nothing to overlap with."""

    def submit(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Run a function."""
        future: Future[R] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class WatchedThreads(Executor):
    """A pool of threads that knows how long each has been at its task.

    Parameters
    ----------
    threads:
        Their number.
    name:
        What their names begin with.
    """

    def __init__(self, threads: int, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._threads = threads
        self._clock = clock
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._running: dict[int, float] = {}

    def submit(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Run a function in one of the threads."""
        return self._pool.submit(self._watched, partial(function, *args, **kwargs))

    @property
    def alive(self) -> bool:
        """Whether at least one thread is idle, or has not been at its task for too long."""
        with self._lock:
            since = self._clock() - STUCK_S
            return sum(started < since for started in self._running.values()) < self._threads

    def _watched(self, task: Callable[[], R]) -> R:
        number = next(self._numbers)
        with self._lock:
            self._running[number] = self._clock()
        try:
            return task()
        finally:
            with self._lock:
                del self._running[number]
