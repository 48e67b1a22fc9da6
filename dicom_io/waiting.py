"""What ends the waits of a request: its deadline, or that nobody waits for its answer any more."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, TypeVar

from dicom_io.web.bounded_connection import Stop

R = TypeVar("R")


class Cancelled(Exception):
    """Nobody waits for the request any more."""


class Cancellation:
    """Shared by everything that waits for one request; safe to use from many threads.

    Parameters
    ----------
    deadline:
        ``time.monotonic()`` seconds.

    Attributes
    ----------
    stop:
        Ends what is being read from stores in the request's name.
    """

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.stop = Stop()
        self._cancelled: Future[None] = Future()

    def cancel(self) -> None:
        """End all waits, now and later; once is enough, and more does no harm."""
        if not self._cancelled.done():
            self._cancelled.set_result(None)
            self.stop.set()

    def when_cancelled(self, function: Callable[[], None]) -> None:
        """Call a function when the waits end, in the thread that ends them; at once where they have ended."""
        self._cancelled.add_done_callback(lambda _: function())

    def result(self, future: Future[R]) -> R:
        """Return a future's result.

        Raises
        ------
        Cancelled
        TimeoutError
            When the deadline passed.
        Exception
            What the future was given instead of a result.
        """
        if not future.done():
            left = max(0.0, self.deadline - time.monotonic())
            awaited: list[Future[Any]] = [future, self._cancelled]
            wait(awaited, left, FIRST_COMPLETED)
            if self._cancelled.done():
                raise Cancelled
            if not future.done():
                raise TimeoutError
        return future.result()
