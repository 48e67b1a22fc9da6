"""Threads that wait for stores, shared so that no store can take them all."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")

_HELPERS = 7


class IoThreads(Executor):
    """A pool in which an origin may hold as many threads as are free: half of them when it is alone.

    An origin that asks for its first thread finds one free until there are about as many origins as
    threads, however many the others hold. Waiting calls start round-robin, one origin after the other.
    """

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="store")
        self._free = threads
        self._lock = threading.Lock()
        self._running: Counter[Hashable] = Counter()
        self._waiting: OrderedDict[Hashable, deque[tuple[Future[Any], Callable[[], Any]]]] = OrderedDict()

    def submit(self, function: Callable[P, T], /, *args: P.args, **options: P.kwargs) -> Future[T]:
        """Run a function on behalf of no particular origin."""
        return self._submit(None, partial(function, *args, **options))

    def at(self, origin: Hashable) -> Executor:
        """Return an executor for functions that wait for one origin."""
        return _At(partial(self._submit, origin))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more calls; see ``Executor.shutdown``."""
        self._pool.shutdown(wait, cancel_futures=cancel_futures)

    def _submit(self, origin: Hashable, call: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        with self._lock:
            self._waiting.setdefault(origin, deque()).append((future, call))
            self._start()
        return future

    def _start(self) -> None:
        """Start waiting calls as far as their origins may have threads. Called with the lock held.

        An origin may have one more while it runs fewer than are free: alone it stops at half, and each
        further origin finds half of the rest.
        """
        while (origin := next((o for o in self._waiting if self._running[o] < self._free), self)) is not self:
            queue = self._waiting[origin]
            future, call = queue.popleft()
            if queue:
                self._waiting.move_to_end(origin)
            else:
                del self._waiting[origin]
            self._free -= 1
            self._running[origin] += 1
            self._pool.submit(self._run, origin, future, call)

    def _run(self, origin: Hashable, future: Future[T], call: Callable[[], T]) -> None:
        try:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:
                    future.set_exception(error)
        finally:
            with self._lock:
                self._free += 1
                self._running[origin] -= 1
                if not self._running[origin]:
                    del self._running[origin]
                self._start()


class _At(Executor):
    def __init__(self, submit: Callable[[Callable[[], Any]], Future[Any]]) -> None:
        self._submit = submit

    def submit(self, function: Callable[P, T], /, *args: P.args, **options: P.kwargs) -> Future[T]:
        return self._submit(partial(function, *args, **options))


def run_together(io: Executor, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Return a function's results for all items, in their order, several at a time.

    It may be called in one of the executor's own threads. The calling thread works through the items, too,
    and cancels the helpers that have not begun: waiting for those could deadlock a full pool.

    Raises
    ------
    Exception
        What the function raised first.
    """
    todo = deque(enumerate(items))
    results: dict[int, R] = {}

    def work() -> None:
        while todo:
            try:
                position, item = todo.popleft()
            except IndexError:
                return
            try:
                results[position] = function(item)
            except BaseException:
                todo.clear()
                raise

    helpers = [io.submit(work) for _ in range(min(_HELPERS, len(todo) - 1))]
    try:
        work()
    finally:
        begun = [helper for helper in helpers if not helper.cancel()]
    for helper in begun:
        helper.result()
    return [results[position] for position in sorted(results)]
