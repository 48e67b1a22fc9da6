"""A client that hangs up while its request is worked on: whoever works on it is notified at once."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


class HangUp:
    """Whether the client of one request has gone: set by the event loop, observed from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._gone = False
        self._call: Callable[[], None] | None = None

    @property
    def has_happened(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self._gone

    def happen(self) -> None:
        """Note that the client has gone, and notify who listens."""
        with self._lock:
            self._gone = True
            call, self._call = self._call, None
        if call is not None:
            call()

    @contextlib.contextmanager
    def during(self, gone: Callable[[], None]) -> Iterator[None]:
        """Be notified during a ``with`` block.

        Parameters
        ----------
        gone:
            Called once at most, in the event loop's thread or, when it is too late already, in this one;
            must be quick.
        """
        with self._lock:
            late = self._gone
            if not late:
                self._call = gone
        if late:
            gone()
        try:
            yield
        finally:
            with self._lock:
                self._call = None
