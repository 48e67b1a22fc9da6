"""What the index of an archive finds of the truly nearest, on a million vectors of real tissue.

``python -m tests.benchmarks.archive_search [VECTORS]``, with the Python of `.venv/archive`

The vectors are the probe's: means of cells of real tissue, cropped anywhere, turned and stained anew. They
are no model's, but as those they are 384 numbers that depend on far fewer.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import cv2
import faiss
import numpy as np

from model.encoder import PATCH_SIDE, Vectors
from serving.archive.index import empty_index, lists_for, samples_for
from serving.archive.shards import of_length_one
from tests.support.models import COLUMNS, ROWS
from tests.support.tissue import tissue

QUERIES, NEAREST = 200, 10
PICTURE = 10_000


def vectors_of_tissue(count: int, chance: np.random.Generator) -> Vectors:
    """Return the probe's vectors of crops, float32 ``[count, 384]`` of length 1."""
    whole, found = tissue().astype(np.float64), []
    for _ in range(-(-count // PICTURE)):
        picture = np.rot90(whole, int(chance.integers(4)))
        picture = np.clip(picture * chance.uniform(0.8, 1.2, 3) + chance.uniform(-15, 15, 3), 0, 255)
        picture = picture[:, ::-1] if chance.integers(2) else picture
        sums = cv2.integral(np.ascontiguousarray(picture))
        most = np.array(picture.shape[:2]) - PATCH_SIDE
        corners = chance.integers(0, most + 1, (PICTURE, 2))
        down = corners[:, 0, None] + np.arange(ROWS + 1) * (PATCH_SIDE // ROWS)
        across = corners[:, 1, None] + np.arange(COLUMNS + 1) * (PATCH_SIDE // COLUMNS)
        at = sums[down[:, :, None], across[:, None, :]]
        cells = np.diff(np.diff(at, axis=1), axis=2)
        found.append(cells.reshape(PICTURE, -1).astype(np.float32))
    return of_length_one(np.concatenate(found)[:count] - np.float32(128 * 28 * 14))


def main(count: int) -> None:
    """Measure and print."""
    chance = np.random.default_rng(0)
    vectors = vectors_of_tissue(count, chance)
    asked = vectors_of_tissue(QUERIES, chance)
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    _, truth = flat.search(asked, NEAREST)
    del flat
    began = time.process_time()
    samples = vectors[chance.random(count) <= samples_for(count) / count]
    index = empty_index(samples, count)
    index.add_with_ids(vectors, np.arange(count))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index"
        faiss.write_index(index, str(path))
        size = path.stat().st_size
    print(
        f"{count:,} vectors, {lists_for(count):,} lists: {size / 1e6:.1f} MB, {size / count:.1f} bytes each, "
        f"{time.process_time() - began:.0f} s of CPU to build"
    )
    print("probes  candidates  recall@10  ms of CPU a search")
    for probes in (16, 64, 256):
        for times in (1, 5, 20):
            index.nprobe = probes
            began = time.process_time()
            _, found = index.search(asked, NEAREST * times)
            ms = (time.process_time() - began) / QUERIES * 1000
            rows = zip(asked, found, truth, strict=True)
            recall = np.mean([_recall(vectors, *row) for row in rows])
            print(f"{probes:6}  {NEAREST * times:10}  {recall:9.3f}  {ms:.1f}")


def _recall(vectors: Vectors, asked: Vectors, candidates: np.ndarray, truth: np.ndarray) -> float:
    """Return the share of the truly nearest that are left when candidates are sorted by their own vectors."""
    ids = candidates[candidates >= 0]
    best = ids[np.argsort(-(vectors[ids] @ asked))][:NEAREST]
    return len(set(best.tolist()) & set(truth.tolist())) / NEAREST


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
