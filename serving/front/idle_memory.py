"""Memory that requests leave behind in the allocator: kept for the next ones, given back when none come."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

IDLE_S = 2.0
"""So long after the last request nobody is expected to need its memory soon."""


def give_back_free_memory() -> None:
    """Return free memory to the system, that between used pieces, too, where the C library can (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class IdleMemory:
    """Notices when a worker has nothing to do any more, once after each busy time.

    What a request needs is what the one before it has freed. Given back in between, it would be faulted in
    again page by page, which takes the kernel as long as decoding a small image.

    Parameters
    ----------
    give_back:
        Called when the worker has been idle for ``IDLE_S``.
    """

    def __init__(self, give_back: Callable[[], object]) -> None:
        self._give_back = give_back
        self._busy: float | None = None

    def note_work(self, now: float) -> None:
        """Note that there is work (``now``: ``time.monotonic()``)."""
        self._busy = now

    def look(self, now: float) -> None:
        """Give memory back if that is due."""
        if self._busy is not None and now - self._busy > IDLE_S:
            self._busy = None
            self._give_back()
