"""Admission: turns for predictions, and a budget for the bytes of the bodies that are held in memory.

Waiters are served in order of arrival, each with a deadline; what cannot wait is refused at once.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from serving.errors import ServiceError, unavailable


class Turns:
    """Lets ``running`` predictions run at once and ``waiting`` more wait for their turn.

    For one thread alone: the event loop's. Who waits holds no thread.

    Parameters
    ----------
    timeout_s:
        How long one may wait.
    """

    def __init__(self, running: int, waiting: int, timeout_s: float) -> None:
        self._free = running
        self._most_waiting = waiting
        self._timeout_s = timeout_s
        self._waiting: deque[_Waiter] = deque()

    def ask(
        self,
        begin: Callable[[], None],
        refuse: Callable[[ServiceError], None],
        has_gone: Callable[[], bool] = lambda: False,
    ) -> None:
        """Ask for a turn.

        Parameters
        ----------
        begin:
            Called when it has come, at once or later; then ``give_back`` must be called one day.
        refuse:
            Called instead, with SERVICE_UNAVAILABLE_ERROR, when too many run and wait already, or the wait
            was too long, or for nobody.
        has_gone:
            Says whether nobody waits any more.
        """
        if self._free:
            self._free -= 1
            begin()
        elif len(self._waiting) >= self._most_waiting or not self._timeout_s:
            refuse(
                unavailable("The service is busy; try again after the time in Retry-After.", retry_after_s=2)
            )
        else:
            self._waiting.append(_Waiter(time.monotonic() + self._timeout_s, begin, refuse, has_gone))

    def give_back(self) -> None:
        """End a turn; the next one begins."""
        if self._waiting:
            self._waiting.popleft().begin()
        else:
            self._free += 1

    def expire(self, now: float) -> None:
        """Refuse those who have waited too long (``now``: ``time.monotonic()``), or have gone."""
        over = [waiter for waiter in self._waiting if waiter.until < now or waiter.has_gone()]
        for waiter in over:
            self._waiting.remove(waiter)
            waiter.refuse(
                unavailable(
                    "The service stayed busy; try again after the time in Retry-After.", retry_after_s=5
                )
            )


@dataclass(frozen=True, slots=True)
class _Waiter:
    until: float
    begin: Callable[[], None]
    refuse: Callable[[ServiceError], None]
    has_gone: Callable[[], bool]


class BodyBudget:
    """Counts the bytes of the bodies that a process holds: those that arrive, wait and are worked on.

    For one thread alone: the event loop's. Who finds no room stops reading. The body that has been
    arriving for longest may go on without room, so that some body is always completed; small ones
    have a reserve that large ones cannot take.

    Parameters
    ----------
    total:
        Bytes, apart from the reserve and from what the oldest may add.
    """

    _SMALL = 1 << 20
    _RESERVE = 64 << 20

    def __init__(self, total: int) -> None:
        self._total = total
        self._held: dict[object, int] = {}
        self._arriving: dict[object, None] = {}
        self.used = 0

    def hold(self, owner: object, size: int) -> None:
        """Count an arriving body's bytes, instead of what was counted for it before."""
        self._arriving.setdefault(owner)
        self.used += size - self._held.get(owner, 0)
        self._held[owner] = size

    def has_room(self, owner: object, promised: int = 0) -> bool:
        """Return whether an arriving body may go on, when so many bytes are promised to others."""
        reserve = self._RESERVE if self._held.get(owner, 0) <= self._SMALL else 0
        has = self.used + promised < self._total + reserve
        return has or next(iter(self._arriving), None) is owner

    def complete(self, owner: object) -> None:
        """Note that a body has arrived: its bytes go on being counted."""
        self._arriving.pop(owner, None)

    def release(self, owner: object) -> None:
        """Stop counting a body."""
        self._arriving.pop(owner, None)
        self.used -= self._held.pop(owner, 0)
