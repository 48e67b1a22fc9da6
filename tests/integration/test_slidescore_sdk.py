"""The vendor's own SDK, unchanged: it takes the stand-in for Slide Score, and our heat maps for its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.webhooks.analyses.heatmap import HeatMap
from serving.webhooks.slidescore.anno2 import heat_map_anno2
from tests.support.slidescore import SlideScore

ROOT = Path(__file__).parents[2]
SDK = Path(sys.prefix) / "slidescore-sdk"
"""Where ``make`` puts it, without touching the environment's own libraries."""


def run(*arguments: str) -> dict[str, Any]:
    """Return what the SDK finds, in a process of its own."""
    path = os.pathsep.join([str(SDK), str(ROOT)])
    environment = os.environ | {"PYTHONPATH": path, "NO_PROXY": "*"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.slidescore_sdk", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_the_sdk_is_served_as_by_slide_score(tmp_path: Path) -> None:
    with SlideScore() as server:
        token = server.new_token()
        found = run("use", server.origin, token, str(tmp_path))
        assert found["metadata"]["metadata"]["level0Width"] == 8000
        assert found["url"].startswith(f"{server.origin}/i/1/")
        assert found["cookie"]
        assert found["tile"] == "ffd8ff"
        assert set(found["uploaded"].values()) == set(server.anno2)
        assert all(data.startswith(b"PK") for data in server.anno2.values())
        assert server.given_up == {token: 1}


def test_the_sdk_reads_our_heat_map_as_its_own(tmp_path: Path) -> None:
    with SlideScore() as server:
        own = run("use", server.origin, server.new_token(), str(tmp_path))["uploaded"]["heatmap"]
        (tmp_path / "theirs.zip").write_bytes(server.anno2[own])
    values = np.array(
        [[0, 16, 32, 48], [64, 80, 96, 112], [128, 144, 160, 176], [192, 208, 224, 255]], np.uint8
    )
    (tmp_path / "ours.zip").write_bytes(heat_map_anno2(HeatMap(128, 32, 16, values), "similarity"))
    theirs, ours = (run("decode", str(tmp_path / name)) for name in ("theirs.zip", "ours.zip"))
    assert ours == theirs
    assert ours == {"x": 128, "y": 32, "size": 16, "data": values.tolist(), "items": True}


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (3, 257)])
def test_the_sdk_reads_heat_maps_of_any_shape(tmp_path: Path, shape: tuple[int, int]) -> None:
    values = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    (tmp_path / "ours.zip").write_bytes(heat_map_anno2(HeatMap(0, 7, 448, values), "x"))
    assert run("decode", str(tmp_path / "ours.zip"))["data"] == values.tolist()
