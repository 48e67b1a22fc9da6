"""``pathserve embed``: a table of vectors of an image or a level."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.conftest import ModelFolders
from tests.integration.test_dicomweb import cut
from tests.support.models import TOLERANCE, probe
from tests.support.service import Service
from tests.support.slides import CODINGS, TILE, Slide, stained
from tests.support.store import Answer, Request, Store
from tests.support.tissue import UInt8Array, encode, tissue


@pytest.fixture(scope="module")
def service(model_folders: ModelFolders) -> Iterator[Service]:
    with Service({"PATHSERVE_MODEL": model_folders["probe"]}) as running:
        yield running.wait_healthy()


COLUMNS = ["study", "series", "instance", "level", "x", "y", "vector", "error"]


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PATHSERVE_", "AIP_"))}
    return subprocess.run(
        [sys.executable, "-m", "serving", "embed", *map(str, arguments)],
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def assert_table(path: Path, truth: UInt8Array, origins: set[tuple[int, int]]) -> None:
    """Hold a table to an image: every patch once, every vector of the pixels at its place."""
    rows = pq.read_table(path).to_pylist()
    assert [(row["x"], row["y"]) for row in rows] == sorted(origins, key=lambda origin: origin[::-1])
    assert all(row["error"] is None for row in rows)
    expected = probe(np.stack(cut(truth, *[(row["x"], row["y"]) for row in rows])))
    np.testing.assert_allclose([row["vector"] for row in rows], expected, atol=TOLERANCE)


def half_glass(width: int, height: int) -> UInt8Array:
    pixels = stained(width, height).copy()
    pixels[:, width // 2 :] = (243, 241, 244)
    return pixels


def test_a_file_is_embedded_in_process_where_tissue_is(model_folders: ModelFolders, tmp_path: Path) -> None:
    image, out = tmp_path / "half.png", tmp_path / "half.parquet"
    pixels = half_glass(1344, 500)
    image.write_bytes(encode(pixels))
    done = run(image, "--out", out, PATHSERVE_MODEL=model_folders["probe"])
    assert done.returncode == 0, done.stderr
    assert_table(out, pixels, {(x, y) for y in (0, 224) for x in (0, 224, 448)})
    assert pq.read_schema(out).names == COLUMNS
    assert pq.read_table(out).to_pylist()[0]["instance"] == str(image)
    again = run(image, "--out", out, PATHSERVE_MODEL=model_folders["probe"])
    assert again.returncode == 1
    assert "is there already" in again.stderr


def test_all_patches_of_a_file_through_a_service(service: Service, tmp_path: Path) -> None:
    image, out = tmp_path / "half.png", tmp_path / "half.parquet"
    pixels = half_glass(700, 300)
    image.write_bytes(encode(pixels))
    done = run(image, "--out", out, "--all", "--stride", "100", "--service", service.url)
    assert done.returncode == 0, done.stderr
    assert "10 patches" not in done.stdout
    assert_table(out, pixels, {(x, 0) for x in range(0, 477, 100)})


@pytest.fixture
def slide() -> Slide:
    slide = Slide()
    slide.add_level(half_glass(3000, 2000), CODINGS["JPEG"], parts=2)
    slide.add_level(half_glass(750, 500), CODINGS["JPEG"])
    return slide


def test_a_level_of_a_series(service: Service, slide: Slide, tmp_path: Path) -> None:
    """Tissue is looked for in the small level; a stopped run goes on; a bad frame costs its patches alone."""
    first, second = slide.instances[:2]
    out = tmp_path / "slide.parquet"
    last_row = len(second.frames) - -(-3000 // TILE)

    def interrupted(request: Request) -> Answer | None:
        where, _, numbers = request.path.partition("/frames/")
        late = second.uid in where and any(int(number) > last_row for number in numbers.split(","))
        return (401, {}, b"") if late else None  # the token grows old before the last row is read

    with Store(slide) as store:
        store.behaviour.tokens = {"planted-token"}
        arguments: list[str | Path] = [
            store.series_path(slide),
            "--out",
            out,
            "--stride",
            "60",
            "--service",
            service.url,
        ]
        refused = run(*arguments, PATHSERVE_STORE_TOKEN="expired-token")
        assert refused.returncode == 1
        assert "INVALID_CREDENTIALS_ERROR" in refused.stderr
        store.behaviour.override = interrupted
        stopped = run(*arguments, PATHSERVE_STORE_TOKEN="planted-token")
        assert stopped.returncode == 1
        assert "INVALID_CREDENTIALS_ERROR" in stopped.stderr
        parts = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "slide.parquet.parts").glob("0*")}
        assert not out.exists()
        store.behaviour.override = None
        other = run(*arguments, "--level", "1", PATHSERVE_STORE_TOKEN="planted-token")
        assert "another run" in other.stderr
        damaged = second.frames[last_row + 3]
        second.frames[last_row + 3] = damaged[: len(damaged) // 2]
        done = run(*arguments, PATHSERVE_STORE_TOKEN="planted-token")
        assert done.returncode == 0, done.stderr
    assert parts
    rows = pq.read_table(out).to_pylist()
    failed = [row for row in rows if row["error"] is not None]
    assert failed
    assert all(row["error"].startswith("DICOM_ERROR") and row["vector"] is None for row in failed)
    good = [row for row in rows if row["error"] is None]
    expected = probe(np.stack(cut(first.truth, *[(row["x"], row["y"]) for row in good])))
    np.testing.assert_allclose([row["vector"] for row in good], expected, atol=TOLERANCE)
    origins = {(row["x"], row["y"]) for row in rows}
    assert len(origins) == len(rows)
    inside = {(x, y) for y in range(0, 1777, 60) for x in range(0, 2777, 60)}
    assert {o for o in inside if o[0] + 224 <= 1480} <= origins <= {o for o in inside if o[0] <= 1510}
    assert {row["study"] for row in rows} == {slide.study}
    assert {(row["series"], row["instance"], row["level"]) for row in rows} == {(slide.series, first.uid, 0)}
    assert not (tmp_path / "slide.parquet.parts").exists()
    assert "planted-token" not in done.stdout + done.stderr + stopped.stderr


def test_another_level_by_its_index(service: Service, slide: Slide, tmp_path: Path) -> None:
    out = tmp_path / "small.parquet"
    with Store(slide) as store:
        where = store.series_path(slide)
        done = run(where, "--out", out, "--level", "1", "--all", "--service", service.url)
        assert done.returncode == 0, done.stderr
        missing = run(where, "--out", tmp_path / "no", "--level", "2", "--service", service.url)
    assert_table(out, slide.instances[-1].truth, {(x, y) for y in (0, 224) for x in (0, 224, 448)})
    assert missing.returncode == 1
    assert "no level 2; it has 0: 3000x2000, 1: 750x500" in missing.stderr


def test_a_store_that_fails_for_long_stops_the_run(service: Service, slide: Slide, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    with Store(slide) as store:
        store.behaviour.override = lambda r: (500, {}, b"") if "/frames/" in r.path else None
        done = run(store.series_path(slide), "--out", out, "--all", "--service", service.url)
    assert done.returncode == 1
    assert "HTTP_ERROR" in done.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.png"], "nowhere.png cannot be read"),
        (["gs://no"], "GCS_IMAGE_PATH_FORMAT_ERROR"),
        (["https://host/studies/x"], "DICOM_PATH_ERROR"),
    ],
)
def test_what_cannot_be_embedded_is_said_to_be_so(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = run(*arguments, "--out", tmp_path / "out.parquet", "--service", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_an_image_without_tissue_says_how_to_embed_it_all_the_same(tmp_path: Path) -> None:
    image = tmp_path / "white.png"
    image.write_bytes(encode(np.full((300, 300, 3), 250, np.uint8)))
    done = run(image, "--out", tmp_path / "out.parquet", "--service", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert "--all" in done.stderr
    assert tissue().mean() < 250
