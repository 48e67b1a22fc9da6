"""The encoder's own thread: take batches out of the exchange, embed them, answer."""

from __future__ import annotations

import logging
import mmap
import time
from collections.abc import Callable
from typing import Protocol

import numpy as np

from model.batching import BatchPolicy, Embedded, bucket_sizes, embed_isolating, require_working
from model.encoder import PATCH_BYTES, PATCH_SHAPE, Encoder, PixelBatch
from model.transport.batch import Batch
from model.transport.exchange import Exchange
from model.transport.staging import Staging

log = logging.getLogger(__name__)


class BatchObserver(Protocol):
    """Gets figures of every batch and of the queue; called often and between batches, so it must be quick."""

    def batch(self, size: int, failed: int, seconds: float) -> None: ...
    def queue_depth(self, patches: int) -> None: ...


class IgnoreBatches:
    """An observer that does nothing."""

    def batch(self, size: int, failed: int, seconds: float) -> None:
        """Ignore it."""

    def queue_depth(self, patches: int) -> None:
        """Ignore it."""


class Engine:
    """Runs one encoder until the exchange is closed.

    Parameters
    ----------
    max_wait_s:
        See ``BatchPolicy``.
    """

    def __init__(self, exchange: Exchange, max_wait_s: float, observer: BatchObserver) -> None:
        self._exchange = exchange
        self._max_wait_s = max_wait_s
        self._observer = observer

    def run(self, load: Callable[[], Encoder]) -> None:
        """Load the encoder and embed batches with it.

        Everything that touches the model happens in the thread that calls this: runtimes bind devices and
        options to threads.

        Raises
        ------
        ModelError, EncoderBroken
        """
        encoder = load()
        policy = BatchPolicy(bucket_sizes(encoder.facts.max_batch), self._max_wait_s)
        self._exchange.announce(encoder.facts)
        if encoder.facts.device == "CPU":
            # The model keeps all cores busy: gathering beside it would take what it gives.
            self._in_turn(encoder, policy)
        else:
            self._overlapped(encoder, policy)

    def _in_turn(self, encoder: Encoder, policy: BatchPolicy) -> None:
        buffer = _block(policy.sizes[-1])
        while (batch := self._exchange.take(policy)) is not None:
            embedded = _embed(encoder, batch.pixels(buffer))
            seconds = time.monotonic() - batch.started
            with self._exchange.changed:
                self._exchange.end()
            self._answer(batch, embedded, seconds)

    def _overlapped(self, encoder: Encoder, policy: BatchPolicy) -> None:
        """Gather the next batch and answer the last one in a second thread, while the device is at work."""
        blocks = _block(policy.sizes[-1]), _block(policy.sizes[-1])
        with Staging(self._exchange, policy, blocks, self._answer) as staging:
            while (staged := staging.take()) is not None:
                batch, patches = staged
                embedded = _embed(encoder, patches)
                staging.finish(batch, embedded, time.monotonic() - batch.started)

    def _answer(self, batch: Batch, embedded: Embedded, seconds: float) -> None:
        self._exchange.answer(batch, embedded, seconds)
        failed = int(embedded.failed.sum())
        if failed:
            log.warning("patches could not be embedded", extra={"patches": failed})
        self._observer.batch(len(batch), failed, seconds)


def _embed(encoder: Encoder, patches: PixelBatch) -> Embedded:
    embedded = embed_isolating(encoder.embed, patches, encoder.facts.dimension)
    if embedded.failed.any():
        # Before anyone is answered: clients must not blame their images for a lost device.
        require_working(encoder)
    return embedded


def _block(patches: int) -> PixelBatch:
    """Return memory for so many patches, uint8 ``[patches, 224, 224, 3]``.

    Made once for all batches: a fresh block for each would be new pages from the system each time. It begins
    at a page, as devices' drivers and libraries that read it without copying want it.
    """
    memory = mmap.mmap(-1, patches * PATCH_BYTES)
    return np.frombuffer(memory, np.uint8).reshape(patches, *PATCH_SHAPE)
