"""Archives through real engines: killed at any time, and the same table whatever the engine."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from serving.archive import layout
from serving.archive.job import Job
from serving.archive.stores.folder import FolderStore
from serving.batch.worklist import NamedSlide
from tests.support.archives import everything, require_right, rows_of, run, vectors_of, write_slides
from tests.support.service import wait_until

KILLS = int(os.environ.get("KILLS", "6"))
"""How often a run is killed: a few times in every test, more often by hand."""

RUNNERS = {
    "default": [],
    "dask": ["--runner=DaskRunner"],
    "portable": ["--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK"],
}


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> list[NamedSlide]:
    """Four slides, two of one block and two of two."""
    return write_slides(tmp_path_factory.mktemp("slides"), (24, 22), (5, 5), (25, 21), (4, 6))


@pytest.fixture(scope="module")
def truth(slides: list[NamedSlide], tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """The vectors of the slides, done piece by piece without an engine."""
    out = tmp_path_factory.mktemp("truth") / "out"
    run(Job(str(out), everything()), slides)
    return {slide.name: vectors_of(rows_of(out, slide.name)) for slide in slides}


def command(out: Path, slides: Sequence[NamedSlide], engine: Sequence[str] = ()) -> list[str]:
    wheres = [slide.where for slide in slides]
    return [sys.executable, "-m", "tests.support.archive_run", str(out), *wheres, "--", *engine]


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PATHSERVE_")}


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.timeout(900)
def test_every_engine_makes_the_same_table(
    runner: str, slides: list[NamedSlide], truth: dict[str, np.ndarray], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ended = subprocess.run(
        command(out, slides, RUNNERS[runner]), env=environment(), capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert "Exception ignored" not in ended.stderr
    require_right(FolderStore(str(out)), truth)
    if runner != "dask":  # which keeps no counters
        assert f"'patches': {sum(map(len, truth.values()))}" in ended.stdout


@pytest.mark.timeout(1800)
def test_a_run_that_is_killed_at_random_again_and_again_ends_with_each_row_once(
    slides: list[NamedSlide], truth: dict[str, np.ndarray], tmp_path: Path
) -> None:
    chance, kills, outputs = random.Random(7), 0, 1
    while kills < KILLS:
        out = tmp_path / f"out {outputs}"
        seen = objects(out)
        process = subprocess.Popen(
            command(out, slides), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            wanted = seen + chance.randint(1, 4)
            wait_until(partial(_is_far, process, out, wanted), "the run to go on", 300)
            is_killed = process.poll() is None
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(30)
        if is_killed:
            kills += 1
        else:
            require_right(FolderStore(str(out)), truth)
            outputs += 1
    ended = subprocess.run(
        command(out, slides), env=environment(), capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    require_right(FolderStore(str(out)), truth)


def _is_far(process: subprocess.Popen[bytes], out: Path, wanted: int) -> bool:
    return process.poll() is not None or objects(out) >= wanted


def objects(out: Path) -> int:
    """Return how many changes there have been, about: names of all objects, and of unfinished ones."""
    counted = (layout.PLANS, layout.PARTS, layout.SHARDS, layout.DONE)
    of_parts = sum(2 for path in (out / layout.DONE).glob("*"))  # whose parts have been removed
    return of_parts + sum(path.is_file() for name in counted for path in (out / name).rglob("*"))
