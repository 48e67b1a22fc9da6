"""Reproducible mode over HTTP: concurrent clients, one and two workers, and ``pathserve embed``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.support.mixtures import patches_to_mix
from tests.support.models import POISON
from tests.support.predicting import vectors
from tests.support.service import Service
from tests.support.small_vit import build_small_vit
from tests.support.tissue import encode, instance

CLIENTS, REQUESTS = 6, 12
PATCHES = patches_to_mix(12)


@pytest.fixture(scope="module")
def small_vit(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build_small_vit(tmp_path_factory.mktemp("models") / "small_vit"))


def poison() -> dict[str, object]:
    patch = PATCHES[0].copy()
    patch[0, 0, 0] = POISON
    return instance(encode(patch))


def mixed(service: Service, client: int) -> Iterator[tuple[int, bytes]]:
    """Ask for random patches, some of them poison; yield (number of the patch, its vector's bytes)."""
    random = np.random.RandomState(client)
    for _ in range(REQUESTS):
        rows = random.randint(0, len(PATCHES), random.choice([1, 1, 2, 3, 5, 9])).tolist()
        sent = [instance(encode(PATCHES[row])) for row in rows]
        if random.random_sample() < 0.2:
            rows.append(-1)
            sent.append(poison())
        answer = service.predict(*sent).json()
        assert answer["metadata"]["reproducible"] is True
        for row, prediction in zip(rows, answer["predictions"], strict=True):
            assert ("error" in prediction) == (row == -1)
            if row != -1:
                yield row, vectors(prediction).tobytes()


def embedded_in_process(model: str, folder: Path) -> list[bytes]:
    """Return the vectors' bytes of all patches, side by side in a picture, by ``pathserve embed``."""
    (folder / "row.png").write_bytes(encode(np.concatenate(list(PATCHES), axis=1)))
    out = folder / "row.parquet"
    command = [sys.executable, "-m", "serving", "embed", str(folder / "row.png"), "--all", "--out", str(out)]
    settings = {"PATHSERVE_MODEL": model, "PATHSERVE_REPRODUCIBLE": "1"}
    run = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    rows = sorted(pq.read_table(out).to_pylist(), key=lambda row: row["x"])
    return [np.array(row["vector"], np.float32).tobytes() for row in rows]


@pytest.mark.timeout(600)
def test_whoever_asks_and_however_a_patch_has_one_vector(small_vit: str, tmp_path: Path) -> None:
    seen: dict[int, set[bytes]] = {row: set() for row in range(len(PATCHES))}
    compared = 0
    for workers in ("1", "2"):
        settings = {
            "PATHSERVE_MODEL": small_vit,
            "PATHSERVE_REPRODUCIBLE": "1",
            "PATHSERVE_WORKERS": workers,
            "PATHSERVE_THREADS": "32" if workers == "1" else "8",
            "PATHSERVE_MAX_BATCH": "16" if workers == "1" else "5",
        }
        with Service(settings) as service, ThreadPoolExecutor(CLIENTS) as clients:
            service.wait_healthy()
            for found in clients.map(lambda client, at=service: list(mixed(at, client)), range(CLIENTS)):
                for row, vector in found:
                    seen[row].add(vector)
                    compared += 1
    for row, vector in enumerate(embedded_in_process(small_vit, tmp_path)):
        seen[row].add(vector)
    assert compared > 300
    assert [len(seen[row]) for row in seen] == [1] * len(PATCHES)
