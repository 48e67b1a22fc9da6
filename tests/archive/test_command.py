"""``pathserve archive`` as it is typed, with a model that TensorFlow runs."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from pathlib import Path

import cv2
import faiss
import pytest

from serving.archive import layout
from serving.archive.index import ROWS, build, indexed
from serving.archive.searching import nearest
from serving.archive.stores.folder import FolderStore
from tests.support.archives import rows_of, vectors_of, write_slides
from tests.support.local_slides import as_jpeg, pyramid_of

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model(model_folders: dict[str, str]) -> str:
    return model_folders["probe"]


@pytest.fixture(scope="module")
def out(model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a run over two slides, of which a third is missing."""
    folder = tmp_path_factory.mktemp("archive")
    slides = write_slides(folder, (6, 5), (4, 4))
    (folder / "slides.csv").write_text(
        "slide,mpp\n" + "".join(f"{Path(one.where).name},0.5\n" for one in slides) + "lost.svs,\n"
    )
    said = typed(model, "--slides", folder / "slides.csv", "--out", folder / "out", "--all")
    assert said.returncode == 1, said.stderr
    assert "2 of 3 slides whole, 46 of 46 patches planned (100.0%)" in said.stdout
    assert "1 slides and 0 blocks have failed" in said.stderr
    return folder / "out"


def typed(model: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    bare = {k: v for k, v in os.environ.items() if not k.startswith(("PATHSERVE_", "AIP_"))}
    return subprocess.run(
        [sys.executable, "-m", "serving", "archive", *map(str, arguments)],
        env=bare | {"PATHSERVE_MODEL": model},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.timeout(900)
def test_a_run_writes_rows_a_picture_of_its_way_and_what_failed(out: Path, model: str) -> None:
    assert len(rows_of(out, "slide 0")) == 30
    assert len(list((out / "runs").glob("*.png"))) == 1
    said = typed(model, "status", out)
    assert "2 of 2 slides whole" in said.stdout
    (row,) = csv.DictReader(io.StringIO(typed(model, "status", out, "--failed").stdout))
    assert (row["slide"], row["code"]) == ("lost", "SLIDE_ERROR")
    assert "No such file" in row["sentence"]


@pytest.mark.timeout(900)
def test_another_stride_is_refused_in_a_sentence(out: Path, model: str) -> None:
    said = typed(model, "--slides", out.parent / "slides.csv", "--out", out, "--all", "--stride", "112")
    assert said.returncode == 1
    assert "is of another run: stride differ" in said.stderr
    assert "Traceback" not in said.stderr


@pytest.mark.timeout(900)
def test_a_model_that_cannot_be_loaded_is_said_in_a_sentence_through_the_engine(out: Path) -> None:
    said = typed("/nowhere", "--slides", out.parent / "slides.csv", "--out", out.parent / "other", "--all")
    assert said.returncode == 1
    assert "pathserve: the model cannot be loaded: The model /nowhere is not a folder" in said.stderr
    assert "while running" not in said.stderr.rpartition("pathserve: ")[2]


@pytest.mark.timeout(900)
def test_a_search_finds_the_patch_that_a_picture_is_of(out: Path, model: str, tmp_path: Path) -> None:
    said = typed(model, "index", out)
    assert "an index of 46 vectors" in said.stdout, said.stderr
    pixels = as_jpeg(pyramid_of(224 * 6, 224 * 5)[0])[448:672, 672:896]
    cv2.imwrite(str(tmp_path / "patch.png"), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    said = typed(model, "search", out, "--like", tmp_path / "patch.png", "--most", "3")
    first, *_ = csv.DictReader(io.StringIO(said.stdout))
    assert (first["slide"], first["x"], first["y"]) == ("slide 0", "672", "448")
    assert abs(float(first["distance"])) < 1e-5


def test_the_rows_nearest_to_a_row_begin_with_itself(out: Path) -> None:
    store = FolderStore(str(out))
    build(store)
    build(store)  # in place of the one that there is, whose file is removed
    name, slides = indexed(store)
    assert sorted(store.names(layout.INDEX)) == sorted((name, ROWS))
    index = faiss.read_index(str(out / name))
    rows = rows_of(out, "slide 1")
    (hit,) = nearest(store, slides, index, vectors_of(rows)[5], 1)
    assert abs(hit.distance) < 1e-5
    assert (hit.x, hit.y) == (rows[5]["x"], rows[5]["y"])  # both slides show the same there
