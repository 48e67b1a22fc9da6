"""A refused client that still sends: what comes is dropped for a while, so that it gets to read the answer.

Closed with bytes unread, the socket would reset the connection, and the client's kernel would throw the
answer away.
"""

from __future__ import annotations

from serving.front import client_limits as limits
from serving.front.pace import Pace


class Lingering:
    """Whether a connection lingers after its answer, for how long, and whether bytes move.

    Attributes
    ----------
    is_due:
        Whether it will linger, or does.
    seconds:
        For how long at most.
    """

    def __init__(self) -> None:
        self.is_due = False
        self.seconds = limits.LINGER_S
        self._pace = Pace(1, limits.LINGER_PACE_S, 0)

    def begin(self, now: float) -> None:
        """Measure the pace from now."""
        self._pace = Pace(1, limits.LINGER_PACE_S, now)

    def note(self, moved: int, now: float) -> None:
        """Count bytes that are dropped."""
        self._pace.note(moved, now)

    def is_lost(self, now: float) -> bool:
        """Return whether nothing moves."""
        return self._pace.is_lost(now)
