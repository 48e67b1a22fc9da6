"""The next batch, gathered while the last one runs on a device that needs none of our cores.

Two threads: the one that owns the model takes a batch, runs it and gives back what came out; a second one
copies patches to the block that does not run, as they arrive, and answers what has run. So the device waits
for neither, and a batch is as large as what arrived until the device was free.
"""

from __future__ import annotations

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
        Answers a batch that has run; called in the second thread.
    """

    def __init__(
        self,
        exchange: Exchange,
        policy: BatchPolicy,
        blocks: tuple[PixelBatch, PixelBatch],
        answer: _Answer,
    ) -> None:
        self._exchange = exchange
        self._changed = exchange.changed
        self._policy = policy
        self._block, self._other = blocks
        self._answer = answer
        self._queued: list[Queued[StreamKey, int]] = []
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
            self._changed.notify_all()
        self._thread.join()

    # The model's thread

    def take(self) -> tuple[Batch, PixelBatch] | None:
        """Wait for a batch and begin it; ``None`` when the exchange is closed.

        Returns
        -------
        The batch and its patches, which stay as they are until ``finish``.
        """
        with self._changed:
            while not self._exchange.closed:
                if self._failure is not None:
                    raise self._failure
                now = time.monotonic()
                wait = None
                if self._queued and not self._copying:
                    oldest = min(queued.since for queued in self._queued)
                    if self._policy.ready(len(self._queued), oldest, now):
                        return self._begin(now)
                    wait = max(0.0, oldest + self._policy.max_wait_s - now)
                self._changed.wait(wait)
        return None

    def finish(self, batch: Batch, embedded: Embedded, seconds: float) -> None:
        """Give what came out of a batch, to be answered."""
        with self._changed:
            self._exchange.end()
            self._finished.append((batch, embedded, seconds))
            self._changed.notify_all()

    def _begin(self, now: float) -> tuple[Batch, PixelBatch]:
        batch, patches = Batch(self._queued, self._slabs, now), self._block[: len(self._queued)]
        self._queued, self._slabs = [], {}
        self._block, self._other = self._other, self._block
        self._exchange.begin(now)
        self._changed.notify_all()
        return batch, patches

    # The second thread

    def _run(self) -> None:
        try:
            while True:
                with self._changed:
                    while not (self._finished or self._more() or self._ended):
                        self._changed.wait()
                    if not self._finished and self._ended:
                        return
                    finished = self._finished.popleft() if self._finished else None
                    more = None if finished else self._exchange.batch(self._more(), time.monotonic())
                    self._copying = more is not None
                if finished is not None:
                    self._answer(*finished)
                if more is not None:
                    self._stage(more)
        except BaseException as error:
            with self._changed:
                self._failure = error
                self._changed.notify_all()

    def _more(self) -> int:
        """Return how many patches make what is staged a larger batch of a size that is run.

        So what is staged may be run as it is at any moment.
        """
        staged = len(self._queued)
        within = staged + self._exchange.waiting
        return max((size for size in self._policy.sizes if size <= within), default=0) - staged

    def _stage(self, more: Batch) -> None:
        first = len(self._queued)
        more.copy_pixels(self._block[first : first + len(more)])
        with self._changed:
            self._queued += more.queued
            self._slabs |= more.slabs
            self._copying = False
            self._changed.notify_all()
