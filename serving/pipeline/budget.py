"""Memory that decoded images share: a budget of bytes, given out in order of arrival."""

from __future__ import annotations

import threading
import time
from collections import deque

from serving.errors import unavailable


class ByteBudget:
    """A number of bytes shared by all requests of a process, given out in order of arrival.

    Small amounts are always granted and not counted: small requests do not wait behind a large one's
    image, and the number that run at once bounds them.

    Parameters
    ----------
    total:
        Bytes; whoever asks for more is given all.
    free_below:
        Amounts smaller than this are granted without counting.
    """

    def __init__(self, total: int, free_below: int) -> None:
        self._total = total
        self._free_below = free_below
        self._left = total
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    def cost(self, amount: int) -> int:
        """Return what an amount counts for."""
        return 0 if amount < self._free_below else min(amount, self._total)

    def try_take(self, amount: int) -> bool:
        """Take bytes if they are there and nobody waits for them; return whether they were taken."""
        cost = self.cost(amount)
        with self._changed:
            if cost and (self._queue or cost > self._left):
                return False
            self._left -= cost
            return True

    def take(self, amount: int, deadline: float) -> None:
        """Wait for bytes and take them.

        Must not be called while holding some: two that hold and wait would never end.

        Parameters
        ----------
        deadline:
            ``time.monotonic()`` seconds.

        Raises
        ------
        ServiceError
            SERVICE_UNAVAILABLE_ERROR when the deadline passed.
        """
        cost = self.cost(amount)
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            try:
                while self._queue[0] is not ticket or cost > self._left:
                    wait = deadline - time.monotonic()
                    if wait <= 0:
                        raise unavailable("The service's memory is in use; try again later.", retry_after_s=5)
                    self._changed.wait(wait)
                self._left -= cost
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()

    def give_back(self, amount: int) -> None:
        """Return what ``take`` or ``try_take`` took for this amount."""
        with self._changed:
            self._left += self.cost(amount)
            self._changed.notify_all()
