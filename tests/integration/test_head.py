"""From a picture to a head: ``pathserve embed``, labels, ``pathserve head train``, and its use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from serving.heads.file import read_head
from serving.webhooks.analyses.patches import Patches
from serving.webhooks.heads.classes import classify
from tests.conftest import ModelFolders
from tests.support.asking import cut
from tests.support.models import probe
from tests.support.slides import stained
from tests.support.tissue import UInt8Array, encode


def run(*arguments: str | Path, **environment: str) -> str:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PATHSERVE_", "AIP_"))}
    done = subprocess.run(
        [sys.executable, "-m", "serving", *map(str, arguments)],
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def half_glass(width: int, height: int, seed: int) -> UInt8Array:
    pixels = stained(width, height).copy()
    glass = np.random.default_rng(seed).integers(235, 250, (height, width // 2, 3))
    pixels[:, width // 2 :] = glass
    return pixels


def test_a_head_from_an_embedded_picture_knows_tissue_from_glass(
    model_folders: ModelFolders, tmp_path: Path
) -> None:
    origins = [(x, y) for y in (0, 224) for x in range(0, 1792, 224)]
    image, table = tmp_path / "seen.png", tmp_path / "seen.parquet"
    image.write_bytes(encode(half_glass(1792, 448, seed=1)))
    run("embed", image, "--out", table, "--all", PATHSERVE_MODEL=model_folders["probe"])
    rows = [f"{x},{y},{'tissue' if x < 896 else 'glass'}" for x, y in origins]
    labels, head = tmp_path / "labels.csv", tmp_path / "head.json"
    labels.write_text("x,y,label\n" + "\n".join(rows))
    said = run("head", "train", table, "--labels", labels, "--out", head, "--mpp", "0.5")
    assert "2 classes from 16 patches of 1 slide at 0.5 µm/px" in said
    assert "5 folds, split by patch" in said
    assert "accuracy 1.000" in said

    unseen = half_glass(1792, 448, seed=7)
    found = classify(
        Patches(np.array(origins, np.int64), 224), probe(np.stack(cut(unseen, *origins))), read_head(head)
    )
    assert [(area.name, area.patches) for area in found.areas] == [("glass", 8), ("tissue", 8)]
    assert found.areas[1].polygons[0].bounds == (0.0, 0.0, 896.0, 448.0)
