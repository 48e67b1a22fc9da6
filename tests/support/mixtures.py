"""One encoder, patches in thousands of mixtures: whether a patch's vector is ever another one.

In a process of its own (``python -m tests.support.mixtures``), for threads are a process's.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.batching import embed_isolating
from model.encoder import Encoder, PixelBatch, Vectors
from tests.support.models import POISON

SIZES = (1, 1, 1, 2, 2, 3, 4, 5, 8)
"""Batch sizes to draw from, in patches."""

_POISONED = 0.1
"""Share of the mixtures with patches that fail."""


@dataclass(frozen=True, slots=True)
class Found:
    """What came out.

    Attributes
    ----------
    vectors:
        How many were compared with that of the same patch alone.
    other:
        How many of them were not the same to the last bit.
    unlike:
        Largest difference of a number.
    misjudged:
        Patches that failed though they are good, or the other way round.
    digest:
        Of the vectors of the patches alone.
    reproducible:
        What the encoder says.
    """

    vectors: int
    other: int
    unlike: float
    misjudged: int
    digest: str
    reproducible: bool


def patches_to_mix(count: int, seed: int = 7) -> PixelBatch:
    """Return good patches of noise, uint8 ``[count, 224, 224, 3]``."""
    patches = np.random.RandomState(seed).randint(0, 256, (count, 224, 224, 3)).astype(np.uint8)
    patches[:, 0, 0, 0] = 1
    return patches


def mix(
    spec: str,
    mixtures: int,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
) -> Found:
    """Mix patches in a process of its own.

    Parameters
    ----------
    spec:
        As for ``load_encoder``.
    arguments:
        As for the command.
    """
    command = [sys.executable, "-m", "tests.support.mixtures", spec, str(mixtures), *arguments]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **(environment or {})}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    return Found(**json.loads(run.stdout.splitlines()[-1]))


def _mix(encoder: Encoder, mixtures: int, sizes: Sequence[int], poisoned: float) -> Found:
    good = patches_to_mix(24)
    alone = np.concatenate([encoder.embed(good[row : row + 1]) for row in range(len(good))])
    bad = good[:2].copy()
    bad[:, 0, 0, 0] = POISON

    def embed(batch: PixelBatch) -> Vectors:
        vectors = encoder.embed(batch)
        if (batch[:, 0, 0, 0] == POISON).any():  # OpenVINO leaves out the model's own assertion
            raise RuntimeError("poison")
        return vectors

    random = np.random.RandomState(21)
    vectors = other = misjudged = 0
    unlike = 0.0
    for _ in range(mixtures):
        rows = random.randint(0, len(good), random.choice(sizes))
        batch = good[rows]
        expected = np.zeros(len(rows), np.bool_)
        if random.random_sample() < poisoned:
            expected[random.randint(0, len(rows), 2)] = True
            batch[expected] = bad[0]
        embedded = embed_isolating(embed, batch, encoder.facts.dimension)
        misjudged += int((embedded.failed != expected).sum())
        kept = ~expected
        apart = np.abs(embedded.vectors[kept] - alone[rows[kept]])
        vectors += int(kept.sum())
        other += int((embedded.vectors[kept] != alone[rows[kept]]).any(axis=1).sum())
        unlike = max(unlike, float(apart.max(initial=0)))
    digest = hashlib.sha256(alone.tobytes()).hexdigest()
    return Found(vectors, other, unlike, misjudged, digest, encoder.facts.reproducible)


def main() -> None:
    """Load the encoder, mix, and print what was found as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("spec")
    parser.add_argument("mixtures", type=int)
    parser.add_argument("--runtime", default="tensorflow")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--plain", action="store_true", help="batches as they come, for comparison")
    parser.add_argument("--poisoned", type=float, default=_POISONED)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--one-core", action="store_true")
    parser.add_argument("--at-once", type=int, help="patches at once, as on a machine of so many cores")
    options = parser.parse_args()
    if options.one_core:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if options.at_once:
        os.sched_getaffinity = lambda _pid: set(range(options.at_once))
    from model.runtimes.load import load_encoder

    encoder = load_encoder(
        options.spec,
        options.precision,
        16,
        options.cache,
        options.runtime,
        reproducible=not options.plain,
    )
    found = _mix(encoder, options.mixtures, options.sizes, options.poisoned)
    sys.stdout.write(json.dumps({name: getattr(found, name) for name in Found.__slots__}))


if __name__ == "__main__":
    main()
