"""The encoder's own thread: take batches out of the exchange, embed them, answer."""

from __future__ import annotations

import logging
import math
import mmap
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import numpy as np

from model.batching import (
    BatchPolicy,
    Embedded,
    EncoderBroken,
    bucket_sizes,
    embed_isolating,
    require_working,
)
from model.encoder import PATCH_BYTES, PATCH_SHAPE, Encoder, PixelBatch
from model.golden.comparison import Finding
from model.golden.guard import GoldenGuard, GuardedEncoder
from model.transport.batch import Batch
from model.transport.exchange import Exchange
from model.transport.staging import Staging

log = logging.getLogger(__name__)

Load = Callable[[], Encoder | GuardedEncoder]
"""Makes the encoder, warm, and what it is held to while it runs."""


class BatchObserver(Protocol):
    """Gets figures of every batch and of the queue; called often and between batches, so it must be quick."""

    def batch(self, size: int, failed: int, seconds: float) -> None: ...
    def queue_depth(self, patches: int) -> None: ...
    def golden(self, finding: Finding) -> None: ...


class IgnoreBatches:
    """An observer that does nothing."""

    def batch(self, size: int, failed: int, seconds: float) -> None:
        """Ignore it."""

    def queue_depth(self, patches: int) -> None:
        """Ignore it."""

    def golden(self, finding: Finding) -> None:
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
        self._guard: GoldenGuard | None = None

    def run(self, load: Load) -> None:
        """Load the encoder and embed batches with it.

        Everything that touches the model happens in the thread that calls this: runtimes bind devices and
        options to threads.

        Raises
        ------
        ModelError, EncoderBroken
        """
        loaded = load()
        guarded = loaded if isinstance(loaded, GuardedEncoder) else GuardedEncoder(loaded, None)
        encoder, self._guard = guarded.encoder, guarded.guard
        policy = BatchPolicy(bucket_sizes(encoder.facts.max_batch), self._max_wait_s)
        self._begin(encoder)
        if encoder.facts.device == "CPU":
            # The model keeps all cores busy: gathering beside it would take what it gives.
            self._in_turn(encoder, policy)
        else:
            self._overlapped(encoder, policy)

    def _begin(self, encoder: Encoder) -> None:
        """Announce the encoder once its golden patches have been tried, with its fault if it misses them."""
        facts, guard = encoder.facts, self._guard
        if guard is None:
            self._exchange.announce(facts)
            return
        finding = guard.whole_round(encoder)
        facts = replace(facts, golden=guard.digest)
        self._exchange.announce(facts, "" if finding.reproduced else str(finding))
        self._judge(guard, finding)

    def _check(self, encoder: Encoder) -> float:
        """Run a batch of golden patches if one is due; return when the next one will be."""
        guard = self._guard
        if guard is None:
            return math.inf
        if (now := time.monotonic()) >= guard.due:
            with self._exchange.changed:
                self._exchange.begin(now)  # one that does not end is noticed, as of any other batch
            finding = guard.next_batch(encoder)
            with self._exchange.changed:
                self._exchange.end()
            if finding is not None:
                self._judge(guard, finding)
        return guard.due

    def _judge(self, guard: GoldenGuard, finding: Finding) -> None:
        """Raise EncoderBroken where golden patches are missed, once clients have been told for a while."""
        self._observer.golden(finding)
        if finding.reproduced:
            log.info("golden patches are reproduced", extra=finding.figures())
            return
        self._exchange.condemn(str(finding))  # first of all: no more vectors
        missed = {"patches": finding.missed, "reason": str(finding)}
        log.critical("golden patches are not reproduced", extra=finding.figures() | missed)
        if not self._exchange.wait_closed(guard.last_words_s):
            raise EncoderBroken(str(finding))

    def _in_turn(self, encoder: Encoder, policy: BatchPolicy) -> None:
        buffer = _block(policy.sizes[-1])
        while not self._exchange.closed:
            batch = self._exchange.take(policy, self._check(encoder))
            if batch is None:
                continue
            embedded = _embed(encoder, batch.pixels(buffer))
            seconds = time.monotonic() - batch.started
            with self._exchange.changed:
                self._exchange.end()
            self._answer(batch, embedded, seconds)

    def _overlapped(self, encoder: Encoder, policy: BatchPolicy) -> None:
        """Gather the next batch and answer the last one in a second thread, while the device is at work."""
        blocks = _block(policy.sizes[-1]), _block(policy.sizes[-1])
        with Staging(self._exchange, policy, blocks, self._answer) as staging:
            while not self._exchange.closed:
                staged = staging.take(self._check(encoder))
                if staged is None:
                    continue
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
