"""Ends the reading of a socket at a deadline, whatever drips in: one thread watches for all."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import socket
import threading
import time
from collections.abc import Iterator


class StallWatch:
    """Shuts the reading side of sockets whose time is up, so that a blocked ``recv`` returns."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._heap: list[tuple[float, int]] = []
        self._sockets: dict[int, socket.socket] = {}
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def within(self, sock: socket.socket, seconds: float) -> Iterator[None]:
        """Give a ``with`` block so long to read from a socket.

        Raises
        ------
        TimeoutError
            When it took longer: what was read last may have been cut off.
        """
        number = next(self._numbers)
        with self._changed:
            if self._thread is None:  # after the fork
                self._thread = threading.Thread(target=self._watch, name="stall-watch", daemon=True)
                self._thread.start()
            self._sockets[number] = sock
            heapq.heappush(self._heap, (time.monotonic() + seconds, number))
            if self._heap[0][1] == number:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                in_time = self._sockets.pop(number, None) is not None
        if not in_time:
            raise TimeoutError

    def _watch(self) -> None:
        with self._changed:
            while True:
                while self._heap and (
                    self._heap[0][1] not in self._sockets or self._heap[0][0] <= time.monotonic()
                ):
                    _, number = heapq.heappop(self._heap)
                    late = self._sockets.pop(number, None)
                    if late is not None:
                        with contextlib.suppress(OSError):
                            late.shutdown(socket.SHUT_RD)
                self._changed.wait(self._heap[0][0] - time.monotonic() if self._heap else None)
