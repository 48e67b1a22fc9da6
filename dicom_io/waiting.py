"""What ends the waits of a request: its deadline, or a client that no longer waits for the answer."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, TypeVar

R = TypeVar("R")


class Stop:
    """Ends its owner's reads, from any thread and at once."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._socks: set[socket.socket] = set()

    def set(self) -> None:
        """End all reads, now and later."""
        # A reader that is blocked in recv() looks at no event; shutting its socket down is what wakes it. The
        # lock is held throughout: outside of it a socket could be handed to another request in between.
        with self._lock:
            self._event.set()
            for sock in self._socks:
                with contextlib.suppress(OSError):
                    # Not an SSLSocket's own shutdown, which takes its TLS layer away from the reader.
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def is_set(self) -> bool:
        """Return whether all has been ended."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Pause; return whether all has been ended by then."""
        return self._event.wait(seconds)

    def watch(self, sock: socket.socket) -> None:
        """Include a socket that is being read."""
        with self._lock:
            self._socks.add(sock)

    def leave(self, sock: socket.socket) -> None:
        """Exclude a socket that is no longer read."""
        with self._lock:
            self._socks.discard(sock)


class Cancelled(Exception):
    """The client no longer waits for the request."""


class Cancellation:
    """Shared by everything that waits for one request; safe to use from many threads.

    Parameters
    ----------
    deadline:
        ``time.monotonic()`` seconds.

    Attributes
    ----------
    stop:
        Ends the request's reads from stores.
    """

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.stop = Stop()
        # A future, not an event: only futures can be waited for together with the one that is wanted.
        self._cancelled: Future[None] = Future()

    def cancel(self) -> None:
        """End all waits, now and later; further calls do nothing."""
        if not self._cancelled.done():
            self._cancelled.set_result(None)
            self.stop.set()

    def when_cancelled(self, function: Callable[[], None]) -> None:
        """Call a function when the waits end, in the thread that ends them; at once where they have ended."""
        self._cancelled.add_done_callback(lambda _: function())

    def require_time(self) -> None:
        """Raise where the waits have ended: between the steps of what waits for nothing, but takes long.

        Raises
        ------
        Cancelled
        TimeoutError
            When the deadline passed.
        """
        if self._cancelled.done():
            raise Cancelled
        if time.monotonic() >= self.deadline:
            raise TimeoutError

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
