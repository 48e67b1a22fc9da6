"""The index of an archive that is too large to compare its vectors one by one."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pytest

from model.encoder import Vectors
from serving.archive import index as indexing
from serving.archive.shards import of_length_one

DIMENSION, KINDS, VECTORS, QUERIES, NEAREST = 384, 64, 24_000, 50, 10


@pytest.fixture(scope="module")
def vectors() -> Vectors:
    """Vectors around centres, each kind along directions of its own: the last are asked for."""
    chance = np.random.default_rng(0)
    centres = chance.normal(size=(KINDS, DIMENSION)).astype(np.float32)
    axes = chance.normal(size=(KINDS, 12, DIMENSION)).astype(np.float32)
    kinds = chance.integers(KINDS, size=VECTORS + QUERIES)
    made = np.empty((len(kinds), DIMENSION), np.float32)
    for kind in range(KINDS):
        of_it = np.flatnonzero(kinds == kind)
        along = chance.normal(size=(len(of_it), 12)).astype(np.float32)
        made[of_it] = 3 * centres[kind] + along @ axes[kind] / 3
    made += chance.normal(scale=0.1, size=made.shape).astype(np.float32)
    return of_length_one(made)


@pytest.mark.parametrize("compared", [1 << 13, 0], ids=["centres compared", "centres in a graph"])
@pytest.mark.timeout(600)
def test_candidates_of_a_large_index_have_nearly_all_that_are_truly_nearest(
    vectors: Vectors, compared: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(indexing, "_MOST_COMPARED", compared)
    held, asked = vectors[:VECTORS], vectors[VECTORS:]
    made = indexing.empty_index(held[: indexing.samples_for(VECTORS)], VECTORS)
    made.add_with_ids(held, np.arange(VECTORS))
    faiss.write_index(made, str(tmp_path / "index"))
    index = faiss.read_index(str(tmp_path / "index"))
    assert isinstance(index, faiss.IndexIVF)
    index.nprobe = 16
    _, found = index.search(asked, 20 * NEAREST)
    products = asked @ held.T
    recalls = []
    for row, candidates in zip(products, found, strict=True):
        there = candidates[candidates >= 0]
        best = there[np.argsort(-row[there])][:NEAREST]
        recalls.append(np.isin(np.argsort(-row)[:NEAREST], best).mean())
    assert np.mean(recalls) > 0.9
    assert (tmp_path / "index").stat().st_size < VECTORS * 100 + indexing.lists_for(VECTORS) * DIMENSION * 8
