"""Tables of vectors in every format: read back by what people read them with."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr

from serving.output.files import OutputError
from serving.output.formats import Format
from serving.output.hdf5 import magnification
from serving.output.run import Count, Output, Paths, Slide, convert
from serving.output.table import Identity, Model, PatchFrame, Rows

FRAME = PatchFrame(
    level=1, width=1000, height=800, level0_width=4003, level0_height=3201, mpp=0.5055, level0_mpp=0.1263
)
MODEL = Model("sha256:0", "path-foundation", False)
RUN = {"stride": 112}
ABOUT: Mapping[str, Any] = {"version": 2, "run": RUN, "frame": dataclasses.asdict(FRAME)}
SLIDE = Slide(Identity("1.2", "3.4", "5.6"), FRAME, ABOUT)
VECTORS = np.random.default_rng(0).random((4, 6), np.float32)


def paths(folder: Path, *kinds: Format) -> Paths:
    return Paths({kind: folder / f"slide.{kind}" for kind in kinds})


def written(folder: Path, *kinds: Format) -> Paths:
    """Write four patches in two bands, one of them failed, and not in their order."""
    where = paths(folder, *kinds)
    output = Output(where, kinds, SLIDE)
    output.write(1, Rows([(448, 0)], [None], ["CODE: what is wrong"]), MODEL)
    output.write(0, Rows([(224, 0), (0, 0)], [VECTORS[1], VECTORS[0]], [None, None]), MODEL)
    output.write(2, Rows([(0, 224)], [VECTORS[3]], [None]), MODEL)
    assert output.complete([[0, 1], [2]]) == Count(4, 1)
    assert not where.parts.exists()
    return where


def test_parquet_has_a_row_a_patch_row_by_row(tmp_path: Path) -> None:
    path = written(tmp_path, Format.PARQUET).first
    table = pq.read_table(path)
    assert table.schema.names == [
        "study", "series", "instance", "level", "x", "y", "x0", "y0", "mpp", "vector", "error",
    ]  # fmt: skip
    assert table.schema.field("vector").type == pa.list_(pa.float32(), 6)
    rows = table.to_pylist()
    assert [(row["x"], row["y"]) for row in rows] == [(0, 0), (224, 0), (448, 0), (0, 224)]
    assert [(row["x0"], row["y0"]) for row in rows] == [(0, 0), (897, 0), (1793, 0), (0, 896)]
    assert {(row["study"], row["series"], row["instance"], row["level"], row["mpp"]) for row in rows} == {
        ("1.2", "3.4", "5.6", 1, 0.5055)
    }
    assert [row["error"] for row in rows] == [None, None, "CODE: what is wrong", None]
    vectors = np.array([row["vector"] for row in rows], np.float32)
    np.testing.assert_array_equal(vectors[[0, 1, 3]], VECTORS[[0, 1, 3]])
    assert np.isnan(vectors[2]).all()
    about = json.loads(table.schema.metadata[b"pathserve"])
    assert about == {**ABOUT, "model": "sha256:0", "encoder": "path-foundation", "untrained": False}


def test_hdf5_is_what_trident_reads(tmp_path: Path) -> None:
    """``trident.IO.read_coords`` takes the attributes of ``coords`` as a dictionary, and all coordinates."""
    path = written(tmp_path, Format.HDF5).first
    with h5py.File(path, "r") as file:
        attributes, coords = dict(file["coords"].attrs), file["coords"][:]
        features, of_features = file["features"][:], dict(file["features"].attrs)
    assert attributes == {
        "patch_size": 224, "patch_size_level0": 897, "level0_magnification": 80, "target_magnification": 20,
        "overlap": 112, "name": "slide", "savetodir": str(tmp_path), "level0_width": 4003,
        "level0_height": 3201,
    }  # fmt: skip
    assert (coords.dtype, coords.tolist()) == (np.int64, [[0, 0], [897, 0], [0, 896]])
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features, VECTORS[[0, 1, 3]])
    assert of_features == {"name": "slide", "savetodir": str(tmp_path), "encoder": "path-foundation"}


def test_hdf5_is_what_clam_reads_and_says_which_patches_failed(tmp_path: Path) -> None:
    """CLAM's ``Generic_MIL_Dataset`` reads ``features`` and ``coords`` of ``h5_files/SLIDE.h5`` alone."""
    folder = tmp_path / "h5_files"
    written(folder, Format.HDF5)
    with h5py.File(tmp_path / "h5_files" / "slide.h5", "r") as file:
        assert file["features"][:].shape == (3, 6)
        assert file["coords"][:].shape == (3, 2)
        assert file["failed/coords"][:].tolist() == [[1793, 0]]
        assert [text.decode() for text in file["failed/errors"]] == ["CODE: what is wrong"]


@pytest.mark.parametrize(
    ("mpp", "power"),
    [(0.25, 40), (0.2527, 40), (0.2205, 40), (0.4537, 20), (0.5055, 20), (1.0, 10), (2.0, 5), (0.6, 16.67)],
)
def test_a_scanners_pixels_go_by_its_magnification(mpp: float, power: float) -> None:
    assert magnification(mpp) == power


def test_magnifications_that_are_not_known_are_left_out(tmp_path: Path) -> None:
    frame = dataclasses.replace(FRAME, mpp=None, level0_mpp=None)
    where = paths(tmp_path, Format.HDF5, Format.PARQUET)
    output = Output(where, list(where.files), dataclasses.replace(SLIDE, frame=frame))
    output.write(0, Rows([(0, 0)], [VECTORS[0]], [None]), MODEL)
    output.complete([[0]])
    with h5py.File(where.first) as file:
        assert not {"level0_magnification", "target_magnification"} & set(file["coords"].attrs)
    assert pq.read_table(where.files[Format.PARQUET])["mpp"].to_pylist() == [None]


def test_zarr_is_a_table_of_anndata(tmp_path: Path) -> None:
    """The encodings of AnnData's on-disk format, which its reader goes by."""
    root = zarr.open_group(written(tmp_path, Format.ZARR).first, mode="r")
    assert root.metadata.zarr_format == 3
    assert (root.attrs["encoding-type"], root.attrs["encoding-version"]) == ("anndata", "0.1.0")
    obs = root["obs"]
    assert obs.attrs["encoding-type"] == "dataframe"
    assert obs.attrs["_index"] == "_index"
    columns = obs.attrs["column-order"]
    assert columns == ["x", "y", "x0", "y0", "tile_id", "library_id", "error"]
    assert {name: obs[name].shape for name in [*columns, "_index"]} == dict.fromkeys(
        [*columns, "_index"], (4,)
    )
    assert obs["error"][:].tolist() == ["", "", "CODE: what is wrong", ""]
    assert obs["error"].attrs["encoding-type"] == "string-array"
    assert root["X"].attrs["encoding-type"] == "array"
    assert np.isnan(root["X"][:]).all(axis=1).tolist() == [False, False, True, False]
    np.testing.assert_array_equal(root["X"][:][[0, 1, 3]], VECTORS[[0, 1, 3]])
    assert root["var"]["_index"][:].tolist() == list("012345")
    middle = 224 * 4003 / 1000 / 2
    assert root["obsm"]["spatial"][1, 0] == pytest.approx(897 + middle)


def test_geojson_is_the_grid_as_qupath_opens_it(tmp_path: Path) -> None:
    found = json.loads(written(tmp_path, Format.GEOJSON).first.read_text())
    assert found["type"] == "FeatureCollection"
    second = found["features"][1]
    assert second["properties"] == {"objectType": "tile"}
    assert second["geometry"] == {
        "type": "Polygon",
        "coordinates": [[[897, 0], [1793, 0], [1793, 896], [897, 896], [897, 0]]],
    }
    failed = found["features"][2]["properties"]
    assert failed["classification"]["name"] == "Failed"
    assert failed["metadata"] == {"error": "CODE: what is wrong"}


@pytest.mark.parametrize("kind", list(Format))
def test_every_format_knows_its_run_and_model_again(tmp_path: Path, kind: Format) -> None:
    where = written(tmp_path, kind)
    assert where.missing(RUN, lambda: "sha256:0") == ()
    assert where.missing(RUN, lambda: None) == ()
    with pytest.raises(OutputError, match="of something else; name another file"):
        where.missing({"stride": 224}, lambda: "sha256:0")
    with pytest.raises(OutputError, match="made by another model"):
        where.missing(RUN, lambda: "sha256:1")


@pytest.mark.parametrize("kind", list(Format))
@pytest.mark.parametrize("content", [b"", b"PAR1", b"\x89HDF\r\n\x1a\n", b'{"type": "FeatureCollection",\n'])
def test_a_file_of_something_else_is_left_alone(tmp_path: Path, kind: Format, content: bytes) -> None:
    where = paths(tmp_path, kind)
    where.first.write_bytes(content)
    with pytest.raises(OutputError, match="is there already, of something else"):
        where.missing(RUN, lambda: None)
    assert where.first.read_bytes() == content


def test_other_formats_are_made_of_a_parquet_file_that_is_complete(tmp_path: Path) -> None:
    (tmp_path / "direct").mkdir()
    direct = written(tmp_path / "direct", *Format)
    where = paths(tmp_path, *Format)
    where.files[Format.PARQUET].write_bytes(direct.files[Format.PARQUET].read_bytes())
    missing = where.missing(RUN, lambda: None)
    assert set(missing) == set(Format) - {Format.PARQUET}
    assert convert(where, missing) == Count(4, 1)
    assert where.files[Format.GEOJSON].read_text() == direct.files[Format.GEOJSON].read_text()
    with h5py.File(where.files[Format.HDF5]) as one, h5py.File(direct.files[Format.HDF5]) as other:
        np.testing.assert_array_equal(one["features"][:], other["features"][:])


def test_a_chunk_without_a_vector_takes_its_length_from_the_others(tmp_path: Path) -> None:
    where = paths(tmp_path, Format.PARQUET)
    output = Output(where, [Format.PARQUET], SLIDE)
    output.write(0, Rows([(0, 0)], [None], ["A: b"]), MODEL)
    output.write(1, Rows([(224, 0)], [VECTORS[0]], [None]), MODEL)
    assert output.complete([[0, 1]]) == Count(2, 1)
    assert np.isnan(pq.read_table(where.first)["vector"][0].as_py()).all()


def test_of_a_slide_whose_every_patch_failed_nothing_is_kept_so_that_the_same_command_tries_again(
    tmp_path: Path,
) -> None:
    output = Output(paths(tmp_path, Format.PARQUET), [Format.PARQUET], SLIDE)
    output.write(0, Rows([(0, 0)], [None], ["A: b"]), MODEL)
    with pytest.raises(OutputError, match="Every patch failed, the first with A: b"):
        output.complete([[0]])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", list(Format))
def test_a_band_without_a_vector_is_written_like_any_other(tmp_path: Path, kind: Format) -> None:
    output = Output(paths(tmp_path, kind), [kind], SLIDE)
    output.write(0, Rows([(0, 0)], [None], ["A: b"]), MODEL)
    output.write(1, Rows([(0, 224)], [VECTORS[0]], [None]), MODEL)
    assert output.complete([[0], [1]]) == Count(2, 1)


@pytest.mark.parametrize("kind", list(Format))
def test_a_name_that_is_no_text_is_written_in_every_format(tmp_path: Path, kind: Format) -> None:
    where = Paths({kind: Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.x"))})
    output = Output(where, [kind], SLIDE)
    output.write(0, Rows([(0, 0)], [VECTORS[0]], [None]), MODEL)
    assert output.complete([[0]]) == Count(1, 0)


OTHER = """
import sys
from pathlib import Path
from tests.unit.serving.output.test_outputs import SLIDE, Format, Output, paths
output = Output(paths(Path(sys.argv[1]), Format.PARQUET), [Format.PARQUET], SLIDE)
print("begun", flush=True)
sys.stdin.read()
"""


def test_an_output_that_another_process_writes_is_refused_until_that_ends_however_it_does(
    tmp_path: Path,
) -> None:
    where = paths(tmp_path, *Format)
    with subprocess.Popen(
        [sys.executable, "-c", OTHER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"begun\n"
        with pytest.raises(OutputError, match="in use by another run; wait until it has ended, or stop it"):
            Output(where, [Format.PARQUET], SLIDE)
        other.kill()
    written(tmp_path, Format.PARQUET)
    assert [path.name for path in tmp_path.iterdir()] == ["slide.parquet"]


def test_what_another_run_has_finished_meanwhile_is_not_written_again(tmp_path: Path) -> None:
    where = written(tmp_path, Format.PARQUET, Format.GEOJSON)
    with pytest.raises(OutputError, match=r"slide\.parquet has just been written by another run"):
        Output(where, [Format.PARQUET], SLIDE)
    with pytest.raises(OutputError, match=r"slide\.geojson has just been written by another run"):
        convert(where, [Format.GEOJSON])
    assert not where.parts.exists()


def test_parts_of_another_model_or_run_are_not_mixed_in(tmp_path: Path) -> None:
    where = paths(tmp_path, Format.PARQUET)
    output = Output(where, [Format.PARQUET], SLIDE)
    output.write(0, Rows([(0, 0)], [VECTORS[0]], [None]), MODEL)
    with pytest.raises(OutputError, match="made by another model"):
        output.write(1, Rows([(0, 0)], [VECTORS[0]], [None]), dataclasses.replace(MODEL, digest="sha256:1"))
    output.leave()
    with pytest.raises(OutputError, match="holds parts of another run"):
        Output(where, [Format.PARQUET], dataclasses.replace(SLIDE, about={**ABOUT, "patches": 3}))
    output = Output(where, [Format.PARQUET], SLIDE)
    assert output.has(0)
    output.leave()


FULL = """
import resource, sys
from pathlib import Path
from serving.output.files import OutputError
from tests.unit.serving.output.test_outputs import MODEL, SLIDE, Format, Output, Rows, paths
import numpy as np
kinds = [Format(sys.argv[2])]
output = Output(paths(Path(sys.argv[1]), *kinds), kinds, SLIDE)
for chunk in range(4):
    vectors = list(np.random.default_rng(chunk).random((512, 384), np.float32))
    output.write(chunk, Rows([(x, chunk) for x in range(512)], vectors, [None] * 512), MODEL)
limit = int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
try:
    output.complete([[0], [1], [2], [3]])
except OutputError as error:
    print(error.full, error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(output.complete([[0], [1], [2], [3]]))
"""


@pytest.mark.parametrize("kind", ["parquet", "h5", "geojson", "zarr"])
@pytest.mark.parametrize("limit", [0, 5_000])
def test_a_disk_that_is_full_ends_a_write_with_a_sentence_and_keeps_the_parts(
    tmp_path: Path, kind: str, limit: int
) -> None:
    """HDF5, told of a write that failed, crashes the process when it ends."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path), kind, str(limit)],
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("True ")
    assert "Make room; the same command goes on from there." in first
    assert second == "Count(rows=2048, errors=0, left_out=0)"
    assert [path.name for path in tmp_path.iterdir()] == [f"slide.{kind}"]
