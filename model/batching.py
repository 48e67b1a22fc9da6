"""Micro-batching: a fair queue, batch sizes that the model was warmed for, poison isolation.

Nothing here reads a clock or starts a thread: time is an argument.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from model.encoder import PATCH_SHAPE, Encoder, PixelBatch, Vectors

S = TypeVar("S", bound=Hashable)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Queued(Generic[S, T]):
    """One item of a stream, and when it was queued (seconds of the caller's clock)."""

    stream: S
    item: T
    since: float


class FairQueue(Generic[S, T]):
    """A queue of streams (requests), served round-robin: one item of each in turn.

    A stream of one item never waits behind another stream's four thousand. Within a stream the
    order is kept.
    """

    def __init__(self) -> None:
        self._streams: OrderedDict[S, deque[Queued[S, T]]] = OrderedDict()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def push(self, stream: S, items: Sequence[T], now: float) -> None:
        """Queue items at the end of their stream; a new stream comes last in the round."""
        if items:
            waiting = self._streams.setdefault(stream, deque())
            waiting.extend(Queued(stream, item, now) for item in items)
            self._length += len(items)

    def take(self, count: int) -> list[Queued[S, T]]:
        """Remove and return at most ``count`` items, one of each stream in turn."""
        taken: list[Queued[S, T]] = []
        while self._streams and len(taken) < count:
            stream, waiting = self._streams.popitem(last=False)
            alone = not self._streams  # as it often is: there is nobody to take turns with
            turns = min(count - len(taken), len(waiting)) if alone else 1
            taken += [waiting.popleft() for _ in range(turns)]
            if waiting:
                self._streams[stream] = waiting
        self._length -= len(taken)
        return taken

    def drop(self, stream: S) -> list[T]:
        """Remove a stream and return the items it still had."""
        dropped = self._streams.pop(stream, deque[Queued[S, T]]())
        self._length -= len(dropped)
        return [queued.item for queued in dropped]

    def streams(self) -> list[S]:
        """Return the streams that have items, in the order of the round."""
        return list(self._streams)

    def oldest(self) -> float | None:
        """Return when the longest waiting item was queued."""
        return min((waiting[0].since for waiting in self._streams.values()), default=None)


def bucket_sizes(max_batch: int) -> tuple[int, ...]:
    """Return the batch sizes that are ever run: 1, 2, 4, 8 … ``max_batch``.

    A batch takes the largest size that is filled, so no work is ever spent on padding; what is
    left over goes first into the next batch.
    """
    powers = {1 << power for power in range(max_batch.bit_length())}
    return tuple(sorted(powers | {max_batch}))


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """When to run a batch, and how large a one.

    Attributes
    ----------
    sizes:
        Allowed batch sizes, ascending, beginning with 1.
    max_wait_s:
        How long the oldest patch may wait for the largest batch to fill; 0 never waits, which is
        right where a larger batch is hardly faster per patch (CPUs).
    """

    sizes: tuple[int, ...]
    max_wait_s: float = 0.0

    def ready(self, waiting: int, oldest: float | None, now: float) -> int:
        """Return how many patches to run now; 0 means wait."""
        if oldest is None or waiting == 0:
            return 0
        if waiting < self.sizes[-1] and now < oldest + self.max_wait_s:
            return 0
        return max(size for size in self.sizes if size <= waiting)

    def wait_until(self, oldest: float | None) -> float | None:
        """Return the time at which ``ready`` will be positive without new patches; ``None``: never."""
        return None if oldest is None else oldest + self.max_wait_s


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors of a batch.

    Attributes
    ----------
    vectors:
        float32 ``[n, dimension]``; rows of patches that failed mean nothing.
    failed:
        bool ``[n]``: True for patches without a vector.
    """

    vectors: Vectors
    failed: npt.NDArray[np.bool_]


def embed_isolating(embed: Callable[[PixelBatch], Vectors], patches: PixelBatch, dimension: int) -> Embedded:
    """Embed a batch; when that fails, halve it until the patches at fault are found.

    One patch at fault in n costs about 2 log2(n) further runs, all of sizes that the model was warmed for
    where n is a power of two. A vector that is not finite counts as failed: JSON has no such numbers.

    Parameters
    ----------
    patches:
        uint8 ``[n, 224, 224, 3]``, n at least 1.
    dimension:
        Length of a vector.
    """
    count = len(patches)
    try:
        vectors = embed(patches)
        if vectors.shape != (count, dimension):
            raise ValueError(f"the model returned {vectors.shape} for {count} patches")
    except Exception:
        if count == 1:
            return Embedded(np.zeros((1, dimension), np.float32), np.ones(1, np.bool_))
        halves = [
            embed_isolating(embed, half, dimension) for half in (patches[: count // 2], patches[count // 2 :])
        ]
        return Embedded(
            np.concatenate([half.vectors for half in halves]),
            np.concatenate([half.failed for half in halves]),
        )
    return Embedded(vectors, np.logical_not(np.isfinite(vectors).all(axis=1)))


class EncoderBroken(Exception):
    """The encoder cannot embed anything any more; a new process may be able to."""


def require_working(encoder: Encoder) -> None:
    """Embed a blank patch, to tell patches at fault from an encoder at fault.

    Raises
    ------
    EncoderBroken
        When the blank patch fails too, as without memory or a device.
    """
    try:
        encoder.embed(np.zeros((1, *PATCH_SHAPE), np.uint8))
    except Exception as error:
        raise EncoderBroken(f"a blank patch cannot be embedded either: {type(error).__name__}") from error
