"""A body that is read while it comes: a bounded pipe from the event loop to the thread that works on it."""

from __future__ import annotations

import io
import threading
from collections import deque
from collections.abc import Callable

from serving.errors import ServiceError

HIGH_BYTES = 4 << 20
"""With so much unread, nothing more is taken from the client."""

_LOW_BYTES = 1 << 20
"""With less unread, more is taken again."""


class BodyStream(io.RawIOBase):
    """Bytes of one body, in order; ``read`` waits for them, and gives what there is.

    Parameters
    ----------
    wake:
        Called in the reader's thread when there is room again after ``put`` has said that there is none.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        super().__init__()
        self._wake = wake
        self._changed = threading.Condition()
        self._pieces: deque[memoryview] = deque()
        self._size = 0
        self._ended = self._is_full = False
        self._fault: ServiceError | None = None

    # What the event loop calls.

    def put(self, pieces: list[bytes | memoryview]) -> bool:
        """Add pieces; return whether there is room for more."""
        with self._changed:
            for piece in pieces:
                self._pieces.append(memoryview(piece))
                self._size += len(piece)
            self._is_full = self._size >= HIGH_BYTES
            self._changed.notify()
            return not self._is_full

    def end(self) -> None:
        """Note that all of it is here."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def fail(self, fault: ServiceError) -> None:
        """Note that the rest will not come: whoever reads is given the fault. What has ended stays whole."""
        with self._changed:
            if not self._ended:
                self._fault = fault
                self._changed.notify()

    # What the thread that works on the request calls.

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return at most ``size`` bytes, none at the end; without a size, all that is left.

        Raises
        ------
        ServiceError
            When the client stopped, was too slow, or sent what is no body.
        """
        if size is None or size < 0:
            return b"".join(iter(lambda: self._take(1 << 20), b""))
        return self._take(size)

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill a buffer, or part of it; return the number of bytes."""
        piece = self._take(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def _take(self, size: int) -> bytes:
        with self._changed:
            self._changed.wait_for(lambda: self._pieces or self._ended or self._fault)
            if self._fault is not None:
                self._pieces.clear()
                raise self._fault
            if not self._pieces or size == 0:
                return b""
            first = self._pieces[0]
            piece = bytes(first[:size])
            if len(piece) == len(first):
                self._pieces.popleft()
            else:
                self._pieces[0] = first[size:]
            self._size -= len(piece)
            wakes = self._is_full and self._size <= _LOW_BYTES
            self._is_full = self._is_full and not wakes
        if wakes:
            self._wake()
        return piece
