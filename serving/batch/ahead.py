"""Work that runs ahead of who takes its results."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ahead(work: Callable[[T], R], items: Iterable[T], at_once: int) -> Iterator[R]:
    """Yield what a function returns for each item, in their order, while it runs for the next ones.

    Each item has a thread of its own, which does not keep the process from ending: an interrupted run is not
    to wait for what nobody will take.

    Parameters
    ----------
    at_once:
        Items that are worked on, or finished and not taken yet, at the same time.

    Raises
    ------
    Exception
        What the function raises for an item, when its turn has come.
    """

    def start(item: T) -> Future[R]:
        future: Future[R] = Future()
        threading.Thread(target=_run, args=(work, item, future), name="ahead", daemon=True).start()
        return future

    rest = iter(items)
    running = deque(map(start, islice(rest, at_once)))
    while running:
        result = running.popleft().result()
        running.extend(map(start, islice(rest, 1)))  # before the caller has done its own work
        yield result


def _run(work: Callable[[T], R], item: T, future: Future[R]) -> None:
    try:
        future.set_result(work(item))
    except BaseException as error:
        future.set_exception(error)
