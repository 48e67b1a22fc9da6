"""Whether bytes go on moving: what stands still, or drips, is cut; what is slow but steady is not."""

from __future__ import annotations


class Pace:
    """Bytes that must move in each stretch of time.

    Parameters
    ----------
    least:
        Bytes that must move in a stretch.
    seconds:
        Length of a stretch.
    now:
        When the first one begins (``time.monotonic()``).
    """

    __slots__ = ("_least", "_moved", "_seconds", "_since")

    def __init__(self, least: int, seconds: float, now: float) -> None:
        self._least = least
        self._seconds = seconds
        self._since = now
        self._moved = 0

    def note(self, moved: int, now: float) -> None:
        """Count bytes; when they are enough, the next stretch begins."""
        self._moved += moved
        if self._moved >= self._least:
            self.restart(now)

    def restart(self, now: float) -> None:
        """Begin a new stretch, as after a rest that the other end did not cause."""
        self._since, self._moved = now, 0

    def is_lost(self, now: float) -> bool:
        """Return whether a stretch has passed with too little."""
        return now - self._since > self._seconds

    @property
    def since(self) -> float:
        """When the stretch began: the smaller, the longer it has been slow."""
        return self._since
