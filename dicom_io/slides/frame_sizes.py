"""How many bytes frames have come in lately: from that follows what others will take."""

from __future__ import annotations

import threading

_REMEMBERED_PIXELS = 64 << 20
"""Pixels of a transfer syntax after which what came first counts half: a thousand frames of 256x256."""

_SYNTAXES = 64


class FrameSizes:
    """Bytes a pixel by transfer syntax, of the frames that a process has been sent. Safe for many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sums: dict[str, tuple[float, float]] = {}

    def add(self, syntax: str, size: int, pixels: int) -> None:
        """Count a frame.

        Parameters
        ----------
        size:
            Its bytes as it was sent.
        pixels:
            Its width times its height.
        """
        with self._lock:
            if syntax not in self._sums and len(self._sums) >= _SYNTAXES:
                return  # a store may call them what it likes
            came, shown = self._sums.get(syntax, (0.0, 0.0))
            half = 0.5 if shown > _REMEMBERED_PIXELS else 1.0
            self._sums[syntax] = (came * half + size, shown * half + pixels)

    def bytes_a_pixel(self, syntax: str) -> float | None:
        """Return the mean of a transfer syntax, ``None`` where no frame has come in it."""
        came, shown = self._sums.get(syntax, (0.0, 0.0))
        return came / shown if shown else None
