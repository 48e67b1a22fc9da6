"""Outputs always say what they are made of: tables of `pathserve embed`, and what the guard says of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import pyarrow.parquet as pq
import pytest
from pydicom.uid import JPEGBaseline8Bit

from tests.in_process.test_provenance import SCHEMA, differing
from tests.support.app import ServedApp
from tests.support.commands import EmbedCommand
from tests.support.local_slides import pyramid_of, write_dicom, write_svs
from tests.support.slides import pyramid
from tests.support.store import Store
from tests.support.tissue import encode, tissue

GUARD = "PATHSERVE_MAGNIFICATION_GUARD"


@pytest.fixture
def embed(capsys: pytest.CaptureFixture[str]) -> EmbedCommand:
    return EmbedCommand(capsys)


@pytest.fixture
def svs(tmp_path: Path) -> Path:
    return write_svs(tmp_path / "a.svs", pyramid_of(1000, 700), mpp=0.25)


def about_of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(pq.read_schema(path).metadata[b"pathserve"])
    return found


def record_in(path: Path) -> dict[str, Any]:
    """Return the one record of a file, held to the schema."""
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            about = json.loads(file.attrs["pathserve"])
    elif path.suffix == ".zarr":
        about = json.loads((path / "zarr.json").read_bytes())["attributes"]["pathserve"]
    else:
        about = about_of(path)
    (record,) = about["provenance"]
    SCHEMA.validate(record)
    found: dict[str, Any] = record
    return found


def test_every_kind_of_table_has_the_record_and_a_service_adds_its_own_part(
    embed: EmbedCommand, served_app: ServedApp, svs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "here.parquet"
    done = embed(svs, "--out", out, "--mpp", "0.5", "--all", "--format", "parquet,h5,zarr")
    assert done.status == 0, done.err
    record = record_in(out)
    image, read = record["image"], record["read"]

    assert record_in(out.with_suffix(".h5")) == record_in(out.with_suffix(".zarr")) == record
    assert (image["kind"], image["format"], image["level"]) == ("level", "aperio", 0)
    assert image["digest"] == f"sha256:{about_of(out)['slide']['digest']}"
    assert (image["um_per_px"], read["um_per_px"]) == ([0.25, 0.25], [0.5, 0.5])
    assert (read["resampling"], read["transfer_syntaxes"]) == ("area", [JPEGBaseline8Bit])

    sent = tmp_path / "sent.parquet"
    assert embed(svs, "--out", sent, "--mpp", "0.5", "--all", "--service", served_app.url).status == 0
    assert differing(record_in(sent), record) == set()


def test_a_slide_that_the_service_reads_itself_is_told_as_by_the_service(
    embed: EmbedCommand, served_app: ServedApp, tmp_path: Path
) -> None:
    slide = pyramid("JPEG 2000 lossless", [(500, 350)])
    with Store(slide) as store:
        for name, more in (("here", ()), ("there", ("--service", served_app.url))):
            done = embed(
                store.series_path(slide), "--out", tmp_path / f"{name}.parquet", "--all", *more,
                "--slide-mpp", "0.5",
            )  # fmt: skip
            assert done.status == 0, done.err
    here, there = (record_in(tmp_path / f"{name}.parquet") for name in ("here", "there"))

    assert differing(here, there) == set()
    assert here["image"]["sop_instance_uids"] == [slide.instances[0].uid]
    assert (here["image"]["um_per_px"], here["image"]["um_per_px_from"]) == ([0.5, 0.5], "caller")


def test_a_folder_of_dicom_has_its_files_digest_and_its_uids(embed: EmbedCommand, tmp_path: Path) -> None:
    slide = pyramid("JPEG", [(1000, 700), (500, 350)])
    done = embed(
        write_dicom(tmp_path / "slide", slide), "--out", tmp_path / "a.parquet", "--level", "1", "--all"
    )
    assert done.status == 0, done.err
    image = record_in(tmp_path / "a.parquet")["image"]

    assert image["digest"] == f"sha256:{about_of(tmp_path / 'a.parquet')['slide']['digest']}"
    assert (image["level"], image["sop_instance_uids"]) == (1, [slide.instances[1].uid])


def test_a_picture_is_told_by_its_bytes(embed: EmbedCommand, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode(tissue()))
    assert embed(tmp_path / "a.png", "--out", tmp_path / "a.parquet", "--all").status == 0

    about = about_of(tmp_path / "a.parquet")
    assert record_in(tmp_path / "a.parquet")["image"]["digest"] == f"sha256:{about['slide']['digest']}"


def test_what_frames_come_in_is_put_together_from_all_chunks(embed: EmbedCommand, tmp_path: Path) -> None:
    large = write_svs(tmp_path / "large.svs", pyramid_of(5000, 4500), mpp=0.5)
    assert embed(large, "--out", tmp_path / "a.parquet", "--all", "--stride", "150").status == 0
    assert about_of(tmp_path / "a.parquet")["patches"] > 512
    record_in(tmp_path / "a.parquet")


# The guard


def test_a_scale_that_is_refused_is_refused_before_anything_is_written(
    embed: EmbedCommand, svs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a.parquet"
    done = embed(svs, "--out", out, "--all", **{GUARD: "refuse"})

    assert done.status == 1
    assert "MAGNIFICATION_ERROR: The image's pixels are 0.25 µm" in done.err
    assert "Ask for --mpp 0.5 to 2." in done.err
    assert "extensions" not in done.err
    assert not out.exists()
    assert embed(svs, "--out", out, "--all", "--mpp", "0.5", **{GUARD: "refuse"}).status == 0


def test_a_warning_is_printed_beside_the_result(embed: EmbedCommand, svs: Path, tmp_path: Path) -> None:
    done = embed(svs, "--out", tmp_path / "a.parquet", "--all", **{GUARD: "warn"})

    assert done.status == 0
    assert done.err.count("warning: The image's pixels are 0.25 µm") == 1


def test_an_unknown_scale_is_said_or_refused_and_may_be_given(embed: EmbedCommand, tmp_path: Path) -> None:
    plain = write_svs(tmp_path / "plain.svs", pyramid_of(1000, 700), mpp=None)
    said = embed(plain, "--out", tmp_path / "a.parquet", "--all", **{GUARD: "refuse"})
    refused = embed(plain, "--out", tmp_path / "b.parquet", "--all", **{GUARD: "strict"})
    given = embed(plain, "--out", tmp_path / "c.parquet", "--all", "--slide-mpp", "0.5", **{GUARD: "strict"})

    assert said.status == given.status == 0
    assert "warning: Nothing says" in said.err
    assert refused.status == 1
    assert "--slide-mpp" in refused.err


def test_a_picture_of_a_size_that_is_given_passes_where_unknown_ones_do_not(
    embed: EmbedCommand, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(encode(tissue()))
    done = embed(
        tmp_path / "a.png",
        "--out",
        tmp_path / "a.parquet",
        "--all",
        "--slide-mpp",
        "0.5",
        **{GUARD: "strict"},
    )

    assert done.status == 0, done.err
