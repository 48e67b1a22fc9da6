"""``pathserve embed`` with ``--quality`` and ``--min-quality``: columns, and patches that are left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
import zarr

from dicom_io.quality.measures import Measure
from dicom_io.quality.patch import measure
from serving.output.table import QUALITY
from tests.support.app import ServedApp
from tests.support.asking import cut
from tests.support.commands import EmbedCommand
from tests.support.slides import CODINGS, Slide, stained
from tests.support.store import Store
from tests.support.tissue import UInt8Array, encode

BLUR, WHITE = [*Measure].index(Measure.BLUR), [*Measure].index(Measure.WHITE)


@pytest.fixture
def embed(capsys: pytest.CaptureFixture[str]) -> EmbedCommand:
    return EmbedCommand(capsys)


@pytest.fixture
def pixels() -> UInt8Array:
    """Return tissue with glass on its right."""
    whole = stained(1000, 700).copy()
    whole[:, 500:] = 245
    return whole


@pytest.fixture
def picture(tmp_path: Path, pixels: UInt8Array) -> Path:
    path = tmp_path / "picture.png"
    path.write_bytes(encode(pixels))
    return path


def rows_of(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def quality_in(rows: list[dict[str, Any]]) -> np.ndarray:
    return np.array([[row[name] for name in QUALITY] for row in rows])


def truth(pixels: UInt8Array, rows: list[dict[str, Any]]) -> np.ndarray:
    return measure([np.ascontiguousarray(one) for one in cut(pixels, *[(r["x"], r["y"]) for r in rows])])


def test_every_format_has_the_quality_of_each_patch(
    embed: EmbedCommand, picture: Path, pixels: UInt8Array, tmp_path: Path
) -> None:
    kinds = "parquet,h5,zarr,geojson"
    done = embed(picture, "--out", tmp_path / "p.parquet", "--all", "--quality", "--format", kinds)
    assert done.status == 0, done.err
    rows = rows_of(tmp_path / "p.parquet")
    expected = truth(pixels, rows)
    np.testing.assert_array_equal(quality_in(rows), expected)
    with h5py.File(tmp_path / "p.h5") as file:
        assert [*file["quality"].attrs["measures"]] == [*Measure]
        np.testing.assert_array_equal(file["quality"][:], expected)
    obs = zarr.open_group(tmp_path / "p.zarr", mode="r")["obs"]
    assert [*obs.attrs["column-order"]][-len(QUALITY) :] == [*QUALITY]
    np.testing.assert_array_equal(np.stack([obs[name][:] for name in QUALITY], axis=1), expected)
    features = json.loads((tmp_path / "p.geojson").read_text())["features"]
    shown = [one["properties"]["measurements"] for one in features]
    np.testing.assert_allclose([[*one.values()] for one in shown], expected, atol=6e-5)
    assert [*shown[0]] == [f"Quality: {one}" for one in Measure]


def test_patches_that_are_not_good_enough_are_left_out_and_counted(
    embed: EmbedCommand, picture: Path, pixels: UInt8Array, tmp_path: Path
) -> None:
    assert embed(picture, "--out", tmp_path / "all.parquet", "--all", "--quality").status == 0
    done = embed(
        picture, "--out", tmp_path / "p.parquet", "--all", "--min-quality", "tissue=0.5", "--min-quality",
        "white=0.4",
    )  # fmt: skip
    assert done.status == 0, done.err
    whole, kept = rows_of(tmp_path / "all.parquet"), rows_of(tmp_path / "p.parquet")
    good = [row for row in whole if row["quality_tissue"] >= 0.5 and row["quality_white"] <= 0.4]
    assert kept == good
    assert 0 < len(good) < len(whole)
    assert f"{len(whole) - len(good)} left out for their quality." in done.out
    run = json.loads(pq.read_schema(tmp_path / "p.parquet").metadata[b"pathserve"])["run"]
    assert run["quality"] is True
    assert run["min_quality"] == {"tissue": 0.5, "white": 0.4}


def test_a_slide_of_which_no_patch_is_good_enough_says_so(
    embed: EmbedCommand, picture: Path, tmp_path: Path
) -> None:
    done = embed(picture, "--out", tmp_path / "p.parquet", "--all", "--min-quality", "black=0,blur=0")
    assert done.status == 1
    assert "No patch is as good as --min-quality asks." in done.err
    assert not (tmp_path / "p.parquet").exists()


def test_a_run_without_it_is_what_it_was_and_another_than_one_with_it(
    embed: EmbedCommand, picture: Path, tmp_path: Path
) -> None:
    out = tmp_path / "p.parquet"
    assert embed(picture, "--out", out, "--all").status == 0
    assert pq.read_schema(out).names[-1] == "error"
    about = json.loads(pq.read_schema(out).metadata[b"pathserve"])
    assert about["version"] == 2
    assert not {"quality", "min_quality"} & set(about["run"])
    assert "done already" in embed(picture, "--out", out, "--all").out
    assert "is there already, of something else" in embed(picture, "--out", out, "--all", "--quality").err


@pytest.mark.parametrize("typed", ["sharp=1", "tissue=2", "0.5"])
def test_a_bound_that_is_none_is_refused(
    embed: EmbedCommand, picture: Path, tmp_path: Path, typed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        embed(picture, "--out", tmp_path / "p.parquet", "--min-quality", typed)
    assert "is not NAME=VALUE with a value from 0 to 1 and one of tissue, blur" in capsys.readouterr().err


def test_a_service_gives_the_same_columns_whoever_reads_the_slide_and_a_bad_patch_has_none(
    embed: EmbedCommand, served_app: ServedApp, pixels: UInt8Array, tmp_path: Path
) -> None:
    slide = Slide()
    (level,) = slide.add_level(pixels, CODINGS["JPEG 2000 lossless"])
    level.frames[5] = level.frames[5][:60]
    found = []
    with Store(slide) as store:
        for name, more in (("here", ()), ("there", ("--service", served_app.url))):
            out = tmp_path / f"{name}.parquet"
            done = embed(store.series_path(slide), "--out", out, "--all", "--quality", *more)
            assert done.status == 0, done.err
            found.append(rows_of(out))
    here, there = found
    failed = [row["error"] is not None for row in here]
    assert 0 < sum(failed) < len(failed)
    assert [row["error"] for row in there] == [row["error"] for row in here]
    assert [*np.isnan(quality_in(here)).all(axis=1)] == failed
    np.testing.assert_allclose(quality_in(there), quality_in(here), atol=6e-5)
    good = [row for row, bad in zip(here, failed, strict=True) if not bad]
    np.testing.assert_array_equal(quality_in(good), truth(pixels, good))


def test_patches_that_are_read_here_and_sent_have_it_too(
    embed: EmbedCommand, served_app: ServedApp, pixels: UInt8Array, tmp_path: Path
) -> None:
    from tests.support.local_slides import write_dicom

    slide = Slide()
    (level,) = slide.add_level(pixels, CODINGS["JPEG"])
    level.frames[5] = level.frames[5][:200]
    folder = write_dicom(tmp_path / "dicom", slide)
    for name, more in (("here", ()), ("sent", ("--service", served_app.url))):
        done = embed(folder, "--out", tmp_path / f"{name}.parquet", "--all", "--quality", *more)
        assert done.status == 0, done.err
    here, sent = (rows_of(tmp_path / f"{name}.parquet") for name in ("here", "sent"))
    assert [row["error"] for row in sent] == [row["error"] for row in here]
    assert any(row["error"] for row in here)
    np.testing.assert_allclose(quality_in(sent), quality_in(here), atol=6e-5)
