"""The next batch, gathered while the last one runs on a device that needs none of our cores.

Two threads: the one that owns the model takes a batch, runs it and gives back what came out; meanwhile a
second one copies patches to the block that does not run, as they arrive, and answers what has run. So the
device waits for neither, and a batch is as large as what arrived until the device was free. While there is
nothing to do meanwhile the first thread does all by itself: a lone patch makes no trips between threads.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from model.batching import BatchPolicy, Embedded, Queued
from model.encoder import PixelBatch
from model.transport.batch import Batch, StreamKey
from model.transport.exchange import Exchange
from model.transport.slab import Slab

_Answer = Callable[[Batch, Embedded, float], None]


class Staging:
    """Where the two threads meet; all state is under the exchange's lock.

    Parameters
    ----------
    blocks:
        Two blocks of memory for the largest batch each.
    answer:
        Answers a batch that has run; called in either thread.
    """

    def __init__(
        self,
        exchange: Exchange,
        policy: BatchPolicy,
        blocks: tuple[PixelBatch, PixelBatch],
        answer: _Answer,
    ) -> None:
        self._exchange = exchange
        self._policy = policy
        self._block, self._other = blocks
        self._answer = answer
        self._changed = exchange.changed  # the first thread waits for it, the second one for the other
        self._beside = threading.Condition(exchange.lock)
        self._staged: list[Queued[StreamKey, int]] = []
        self._slabs: dict[int, Slab] = {}
        self._copying = False
        self._finished: deque[tuple[Batch, Embedded, float]] = deque()
        self._failure: BaseException | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="stage", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._ended = True
            self._beside.notify()
        self._thread.join()

    # The first thread, which owns the model

    def take(self, until: float = math.inf) -> tuple[Batch, PixelBatch] | None:
        """Wait for a batch and begin it; ``None`` when the exchange is closed, or none came in time.

        Parameters
        ----------
        until:
            See ``Exchange.take``.

        Returns
        -------
        The batch and its patches, which stay as they are until ``finish``.
        """
        with self._changed:
            while not self._exchange.closed:
                if self._failure is not None:
                    raise self._failure
                now, ready = time.monotonic(), None
                if not self._copying:
                    waiting = len(self._staged) or self._exchange.waiting
                    oldest = min((queued.since for queued in self._staged), default=self._exchange.oldest)
                    if count := self._policy.ready(waiting, oldest, now):
                        begun = self._begin(count, now)
                        break
                    ready = self._policy.wait_until(oldest)
                if now >= until:
                    return None
                self._exchange.wait_for_more(ready, until, now)
            else:
                return None
        batch, gathered, block = begun
        return batch, block[: len(batch)] if gathered else batch.pixels(block)

    def finish(self, batch: Batch, embedded: Embedded, seconds: float) -> None:
        """Give what came out of a batch, to be answered: by the second thread if there is more to run."""
        with self._changed:
            self._exchange.end()
            if self._staged or self._copying or self._exchange.waiting:
                self._finished.append((batch, embedded, seconds))
                self._beside.notify()
                return
            self._exchange.listener = self._changed
        self._answer(batch, embedded, seconds)

    def _begin(self, count: int, now: float) -> tuple[Batch, bool, PixelBatch]:
        """Begin what is staged, or what is queued; return whether it was staged, and its block."""
        staged = bool(self._staged)
        batch = Batch(self._staged, self._slabs, now) if staged else self._exchange.batch(count, now)
        self._staged, self._slabs = [], {}
        block, self._block, self._other = self._block, self._other, self._block
        self._exchange.begin(now)
        self._exchange.listener = self._beside
        if self._more():
            self._beside.notify()
        return batch, staged, block

    # The second thread

    def _run(self) -> None:
        try:
            while self._do_next():
                pass
        except BaseException as error:
            with self._changed:
                self._failure = error
                self._changed.notify()

    def _do_next(self) -> bool:
        """Wait for something to do, and do it; return whether there may be more."""
        with self._changed:
            while not (self._finished or self._more() or self._ended):
                self._beside.wait()
            if not self._finished and self._ended:
                return False
            finished = self._finished.popleft() if self._finished else None
            more = None if finished else self._exchange.batch(self._more(), time.monotonic())
            self._copying = more is not None
        if finished is not None:
            self._answer(*finished)
        if more is not None:
            self._stage(more)
        return True

    def _more(self) -> int:
        """Return how many patches make what is staged a larger batch of a size that is run.

        So what is staged may be run as it is at any moment. None while nothing runs, for the first thread is
        faster then.
        """
        if self._exchange.listener is not self._beside:
            return 0
        staged = len(self._staged)
        within = staged + self._exchange.waiting
        return max((size for size in self._policy.sizes if size <= within), default=0) - staged

    def _stage(self, more: Batch) -> None:
        first = len(self._staged)
        more.copy_pixels(self._block[first : first + len(more)])
        with self._changed:
            self._staged += more.queued
            self._slabs |= more.slabs
            self._copying = False
            self._changed.notify()
