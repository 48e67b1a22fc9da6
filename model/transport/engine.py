"""The encoder's own thread: take batches out of the exchange, embed them, answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol

import numpy as np

from model.batching import BatchPolicy, bucket_sizes, embed_isolating, require_working
from model.encoder import PATCH_SHAPE, Encoder, PixelBatch
from model.transport.exchange import Batch, Exchange

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
        # Made once: a fresh block of this size for each batch would be new pages from the system each time.
        buffer = np.empty((policy.sizes[-1], *PATCH_SHAPE), np.uint8)
        while (batch := self._exchange.take(policy)) is not None:
            self._run(encoder, batch, buffer)

    def _run(self, encoder: Encoder, batch: Batch, buffer: PixelBatch) -> None:
        embedded = embed_isolating(encoder.embed, batch.copy_pixels(buffer), encoder.facts.dimension)
        if embedded.failed.any():
            # Before anyone is answered: clients must not blame their images for a lost device.
            require_working(encoder)
        seconds = time.monotonic() - batch.started
        self._exchange.answer(batch, embedded, seconds)
        failed = int(embedded.failed.sum())
        if failed:
            log.warning("patches could not be embedded", extra={"patches": failed})
        self._observer.batch(len(batch), failed, seconds)
