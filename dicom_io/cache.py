"""Caches with a size and an owner.

Their keys carry a token's fingerprint: what one caller's token fetched, another caller never sees.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(slots=True)
class _Entry(Generic[V]):
    value: V
    cost: int
    since: float


class LeastRecentlyUsed(Generic[K, V]):
    """Values by key, up to a sum of their costs and for a time. Not locked: its owner holds a lock.

    Parameters
    ----------
    max_cost:
        Sum of the costs that are kept. The least recently used value is evicted first, but never the last
        one: a single value larger than the limit is kept.
    life_s:
        Seconds after which a value is no longer returned. A life begins when a value is put in; using it does
        not prolong it, so that a token which was revoked reads nothing for longer than this.
    clock:
        Seconds that never run backwards.

    Attributes
    ----------
    cost:
        Sum of the costs of all values.
    """

    def __init__(self, max_cost: int, life_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.cost = 0
        self._max_cost = max_cost
        self._life_s = life_s
        self._clock = clock
        self._swept = clock()
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """Return a value, and mark it as most recently used; ``None`` where there is none or it expired."""
        self._sweep()
        entry = self._entries.get(key)
        if entry is None or self._clock() - entry.since > self._life_s:
            self.drop(key)
            return None
        self._entries.move_to_end(key)
        return entry.value

    def put(self, key: K, value: V, cost: int) -> None:
        """Put a value in, in the place of one that is there."""
        self._sweep()
        self.drop(key)
        self._entries[key] = _Entry(value, cost, self._clock())
        self.cost += cost
        self._evict()

    def recount(self, key: K, value: V, cost: int) -> None:
        """Correct the cost of a value, unless it is no longer here."""
        entry = self._entries.get(key)
        if entry is not None and entry.value is value:
            self.cost += cost - entry.cost
            entry.cost = cost
            self._evict()

    def drop(self, key: K, value: V | None = None) -> None:
        """Drop a key's value; with ``value``, only that one and not its successor."""
        entry = self._entries.get(key)
        if entry is not None and (value is None or entry.value is value):
            del self._entries[key]
            self.cost -= entry.cost

    def _evict(self) -> None:
        while self.cost > self._max_cost and len(self._entries) > 1:
            self.drop(next(iter(self._entries)))

    def _sweep(self) -> None:
        """Drop expired values; at most once a life, since it looks at all of them."""
        now = self._clock()
        if now - self._swept > self._life_s:
            self._swept = now
            for key in [key for key, entry in self._entries.items() if now - entry.since > self._life_s]:
                self.drop(key)


class SharedCache(Generic[K, V]):
    """Values that are made once; other threads that need the same value wait for it meanwhile.

    Parameters
    ----------
    max_cost, life_s, clock:
        See ``LeastRecentlyUsed``; a value that costs more than everything is not kept.
    """

    def __init__(self, max_cost: int, life_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_cost = max_cost
        self._lock = threading.Lock()
        self._making: dict[K, Future[V]] = {}
        self._made: LeastRecentlyUsed[K, tuple[V]] = LeastRecentlyUsed(max_cost, life_s, clock)

    def get(self, key: K, make: Callable[[], tuple[V, int]], timeout_s: float) -> V:
        """Return a value, made now by ``make`` (value, cost) unless it is there or being made.

        A failure is not kept: callers that waited for a maker that failed try it themselves.

        Raises
        ------
        TimeoutError
            When another maker took longer than ``timeout_s``.
        Exception
            Whatever ``make`` raises.
        """
        with self._lock:
            if (made := self._made.get(key)) is not None:
                return made[0]
            waiting = self._making.get(key)
            if waiting is None:
                mine: Future[V] = Future()
                self._making[key] = mine
        if waiting is not None:
            try:
                return waiting.result(timeout_s)
            except _MakerFailed:
                return self.get(key, make, timeout_s)
        return self._make(key, make, mine)

    def _make(self, key: K, make: Callable[[], tuple[V, int]], future: Future[V]) -> V:
        try:
            value, cost = make()  # not under the lock: it may take long, and other values are asked for
        except BaseException:
            with self._lock:
                del self._making[key]
            # Not the error itself: its frames would be kept, and what they hold, by those who wait.
            future.set_exception(_MakerFailed())
            raise
        with self._lock:
            # In one step: between the two, a third caller would find neither and make the value again.
            del self._making[key]
            if cost <= self._max_cost:
                self._made.put(key, (value,), cost)
        future.set_result(value)
        return value


class _MakerFailed(Exception):
    """Another caller's attempt to make a value failed."""
