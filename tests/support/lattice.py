"""Patches on a lattice, with embeddings of so many kinds, for analyses to find."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from serving.webhooks.analyses.patches import Patches

IntArray = npt.NDArray[np.int64]
Float32Array = npt.NDArray[np.float32]


def lattice(
    columns: int,
    rows: int,
    side: float = 448,
    at: tuple[float, float] = (1000, 2000),
    step: float | None = None,
) -> Patches:
    """Return patches row by row; a fraction is rounded as a slide's reader would."""
    column, row = np.meshgrid(np.arange(columns), np.arange(rows))
    places = np.stack([column.ravel(), row.ravel()], axis=1) * (step or side) + at
    return Patches(np.rint(places).astype(np.int64), side, step)


def embeddings_of(kinds: npt.ArrayLike, dimension: int = 16, noise: float = 0.1) -> Float32Array:
    """Return float32 ``[n, dimension]``: one direction for each kind, and noise."""
    names = np.asarray(kinds)
    random = np.random.default_rng(5)
    directions = random.normal(size=(int(names.max()) + 1, dimension))
    vectors = directions[names] + noise * random.normal(size=(len(names), dimension))
    return np.asarray(vectors, np.float32)
