"""The encoder's own thread: take batches out of the exchange, embed them, answer the workers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol

import numpy as np

from model.batching import BatchPolicy, Embedded, bucket_sizes, embed_isolating, require_working
from model.encoder import PATCH_SHAPE, Encoder, EncoderFacts
from model.transport import wire
from model.transport.exchange import Batch, Exchange, Stream
from model.transport.slab import Slab

log = logging.getLogger(__name__)


class BatchObserver(Protocol):
    """Hears of every batch and of the queue's depth; called often, so it must be quick."""

    def batch(self, size: int, failed: int, seconds: float) -> None: ...
    def queue_depth(self, patches: int) -> None: ...


class IgnoreBatches:
    """An observer that does nothing."""

    def batch(self, size: int, failed: int, seconds: float) -> None:
        """Ignore it."""

    def queue_depth(self, patches: int) -> None:
        """Ignore it."""


class Encoding:
    """Runs one encoder until the exchange is closed.

    Parameters
    ----------
    wake:
        Called when something could not be sent to a worker at once.
    """

    def __init__(
        self, exchange: Exchange, max_wait_s: float, observer: BatchObserver, wake: Callable[[], None]
    ) -> None:
        self._exchange = exchange
        self._max_wait_s = max_wait_s
        self._observer = observer
        self._wake = wake

    def run(self, load: Callable[[], Encoder]) -> None:
        """Load the encoder and embed batches with it.

        Raises
        ------
        ModelError, EncoderBroken
        """
        encoder = load()
        policy = BatchPolicy(bucket_sizes(encoder.facts.max_batch), self._max_wait_s)
        self._say_hello(encoder.facts)
        buffer = np.empty((policy.sizes[-1], *PATCH_SHAPE), np.uint8)
        while (batch := self._exchange.take(policy)) is not None:
            self._run(encoder, batch, buffer)

    def _say_hello(self, facts: EncoderFacts) -> None:
        for connection in self._exchange.announce(facts):
            connection.send(wire.Hello(facts))
        self._wake()

    def _run(self, encoder: Encoder, batch: Batch, buffer: np.ndarray) -> None:
        started = time.monotonic()
        slabs = self._exchange.slabs()
        patches = buffer[: len(batch)]
        for patch, queued in zip(patches, batch, strict=True):
            slab = slabs.get(queued.stream[0])
            patch[...] = 0 if slab is None else slab.pixels[queued.item]
        embedded = embed_isolating(encoder.embed, patches, encoder.facts.dimension)
        if embedded.failed.any():
            require_working(encoder)
        seconds = time.monotonic() - started
        self._exchange.busy_since = None
        self._answer(batch, embedded, slabs, started, seconds)
        failed = int(embedded.failed.sum())
        if failed:
            log.warning("patches could not be embedded", extra={"patches": failed})
        self._observer.batch(len(batch), failed, seconds)

    def _answer(
        self,
        batch: Batch,
        embedded: Embedded,
        slabs: dict[int, Slab | None],
        started: float,
        seconds: float,
    ) -> None:
        rows: dict[Stream, list[int]] = {}
        for row, queued in enumerate(batch):
            rows.setdefault(queued.stream, []).append(row)
        for (number, request), members in rows.items():
            connection, slab = self._exchange.connection(number), slabs.get(number)
            if connection is None or slab is None:
                continue  # the worker went away: nobody waits
            good = [row for row in members if not embedded.failed[row]]
            bad = [row for row in members if embedded.failed[row]]
            slab.vectors[[batch[row].item for row in good]] = embedded.vectors[good]
            done = wire.Done(
                request,
                tuple(batch[row].item for row in good),
                tuple(batch[row].item for row in bad),
                started - min(batch[row].since for row in members),
                seconds,
            )
            if connection.send(done):
                self._wake()
