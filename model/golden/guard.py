"""Golden patches embedded again while an encoder runs: all of them at the start, later a batch at a time."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np

from model.batching import bucket_sizes, embed_isolating, require_working
from model.encoder import Encoder, PixelBatch, Vectors
from model.golden.comparison import Finding, compared, tolerance_of
from model.golden.golden import Golden


class GoldenGuard:
    """Holds one encoder to a golden file.

    A round runs the patches in batches of the largest size, which they fill again and again, and one of them
    alone, another one in each round: a device may compute each size by other kernels.

    Parameters
    ----------
    every_s:
        Seconds from the end of a round to the next.
    last_words_s:
        How long an encoder that misses golden patches says so before it ends, for a fresh one.

    Attributes
    ----------
    digest:
        The golden file's.
    last_words_s:
        As given.
    due:
        When the next batch is to be run, in ``time.monotonic()`` seconds.
    """

    def __init__(self, golden: Golden, digest: str, every_s: float, last_words_s: float) -> None:
        self.digest = digest
        self.last_words_s = last_words_s
        self.due = -math.inf
        self._golden = golden
        self._every_s = every_s
        self._rounds = 0
        self._left: list[list[int]] = []
        self._rows: list[int] = []
        self._found: list[Vectors] = []

    def whole_round(self, encoder: Encoder) -> Finding:
        """Run a round; see ``next_batch``."""
        while (finding := self.next_batch(encoder)) is None:
            pass
        return finding

    def next_batch(self, encoder: Encoder) -> Finding | None:
        """Run the next batch of a round; return the finding when it was the last one.

        Raises
        ------
        EncoderBroken
            When nothing can be embedded any more.
        """
        self._left = self._left or self._round(bucket_sizes(encoder.facts.max_batch)[-1])
        rows = self._left.pop(0)
        self._found.append(_embedded(encoder, self._golden.patches[rows]))
        self._rows += rows
        return None if self._left else self._finish(encoder)

    def _round(self, size: int) -> list[list[int]]:
        """Return the batches of a round, each as numbers of patches."""
        count = len(self._golden.names)
        filled = [[row % count for row in range(first, first + size)] for first in range(0, count, size)]
        return [*filled, [self._rounds % count]]

    def _finish(self, encoder: Encoder) -> Finding:
        golden = self._golden
        finding = compared(
            [golden.names[row] for row in self._rows],
            golden.vectors[self._rows],
            np.concatenate(self._found),
            tolerance_of((golden.precision, golden.device), (encoder.facts.precision, encoder.facts.device)),
        )
        self._rows, self._found = [], []
        self._rounds += 1
        self.due = time.monotonic() + self._every_s
        return finding


@dataclass(frozen=True, slots=True)
class GuardedEncoder:
    """An encoder, and what holds it to a golden file, where there is one."""

    encoder: Encoder
    guard: GoldenGuard | None


def embedded_alone(encoder: Encoder, patches: PixelBatch) -> Vectors:
    """Return the vectors of patches that are embedded one by one; see ``GoldenGuard``.

    Raises
    ------
    EncoderBroken
        When nothing can be embedded any more.
    """
    return np.concatenate([_embedded(encoder, patch[np.newaxis]) for patch in patches])


def _embedded(encoder: Encoder, patches: PixelBatch) -> Vectors:
    """Return the vectors; rows of patches that could not be embedded are not finite."""
    embedded = embed_isolating(encoder.embed, patches, encoder.facts.dimension)
    if embedded.failed.any():
        require_working(encoder)
    return np.where(embedded.failed[:, np.newaxis], np.float32(np.nan), embedded.vectors)
