"""``pathserve head train``: from tables and labels to a head that classifies, and to sentences."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from serving.__main__ import main
from serving.config.exit_status import ExitStatus
from serving.heads.file import read_head
from serving.webhooks.heads.classes import classify
from tests.support.lattice import embeddings_of, lattice
from tests.support.vector_table import write_first_version, write_table

PATCHES = lattice(8, 5, side=448, at=(0, 0))
KINDS = np.repeat([0, 1], 20)
VECTORS = embeddings_of(KINDS, noise=0.3)
NAMES = ("stroma", "tumour")


def listed(path: Path, *slides: str) -> Path:
    rows = [
        f"{slide},{x},{y},{NAMES[kind]}"
        for slide in slides
        for (x, y), kind in zip(PATCHES.origins, KINDS, strict=True)
    ]
    path.write_text("slide,x,y,label\n" + "\n".join(rows))
    return path


def train(*arguments: str | Path) -> ExitStatus:
    return main(["head", "train", *map(str, arguments)])


def test_labelled_slides_become_a_head_and_a_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = [write_table(tmp_path / f"{name}.parquet", PATCHES, VECTORS) for name in "abc"]
    out = tmp_path / "tumour.json"
    labels = listed(tmp_path / "labels.csv", "a", "b.svs", "c", "not embedded")
    assert train(*tables, "--labels", labels, "--out", out) == ExitStatus.OK
    head = read_head(out)
    assert (head.name, head.classes, head.um_per_px, head.untrained) == ("tumour", NAMES, 0.5, False)
    head.require("sha256:1", 0.5)
    assert (classify(PATCHES, VECTORS, head).labels == KINDS).all()
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{out}: 2 classes from 120 patches of 3 slides at 0.5 µm/px."
    assert said[1] == "On 120 held-out patches (3 folds, split by slide):"
    assert json.loads(out.read_text())["held_out"]["accuracy"] == 1


def test_areas_drawn_in_qupath_become_a_head(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_table(tmp_path / "a.parquet", PATCHES, VECTORS, about={"untrained": True})
    middle = 2.5 * 448
    features = [
        {
            "type": "Feature",
            "geometry": {
                "type": "Polygon",
                "coordinates": [[[0, top], [5000, top], [5000, bottom], [0, bottom], [0, top]]],
            },
            "properties": {"classification": {"name": name, "color": [255, 0, 0]}},
        }
        for name, top, bottom in [("stroma", 0, middle - 300), ("tumour", middle + 300, 5000)]
    ]
    drawn = tmp_path / "any name.geojson"
    drawn.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    out = tmp_path / "head.json"
    assert train(table, "--labels", drawn, "--out", out, "--name", "Mine", "--seed", "4") == ExitStatus.OK
    head = read_head(out)
    assert (head.name, head.colours, head.untrained) == ("Mine", ("#FF0000", "#FF0000"), True)
    said = capsys.readouterr().out
    assert "2 classes from 32 patches of 1 slide" in said
    assert "All patches are of one slide" in said
    assert "UNTRAINED" in said


def test_a_resolution_that_the_table_does_not_tell_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_first_version(tmp_path / "a.parquet", PATCHES, VECTORS)
    labels, out = listed(tmp_path / "labels.csv", "a"), tmp_path / "head.json"
    assert train(table, "--labels", labels, "--out", out) == ExitStatus.FAULT
    assert "a does not tell its resolution; give" in capsys.readouterr().err
    assert train(table, "--labels", labels, "--out", out, "--mpp", "1") == ExitStatus.OK
    assert read_head(out).um_per_px == 1


@pytest.mark.parametrize(
    ("about", "mpp", "says"),
    [
        ({"model": "sha256:2"}, (), "a and b were embedded by different encoders"),
        ({"frame": {"width": 1, "level0_width": 2, "mpp": 1.0}}, (), "b was embedded at 1 µm/px, not at 0.5"),
        ({}, ("--mpp", "0.25"), "a was embedded at 0.5 µm/px, not at 0.25"),
    ],
)
def test_tables_that_do_not_go_together_are_refused(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    about: dict[str, object],
    mpp: tuple[str, ...],
    says: str,
) -> None:
    tables = [
        write_table(tmp_path / "a.parquet", PATCHES, VECTORS),
        write_table(tmp_path / "b.parquet", PATCHES, VECTORS, about=about),
    ]
    labels, out = listed(tmp_path / "labels.csv", "a", "b"), tmp_path / "head.json"
    assert train(*tables, "--labels", labels, "--out", out, *mpp) == ExitStatus.FAULT
    assert says in capsys.readouterr().err
    assert not out.exists()


def test_two_files_that_disagree_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_table(tmp_path / "a.parquet", PATCHES, VECTORS)
    other = tmp_path / "a.csv"
    other.write_text("x,y,label\n0,0,tumour\n")
    labels = listed(tmp_path / "labels.csv", "a")
    assert train(table, "--labels", labels, other, "--out", tmp_path / "h.json") == ExitStatus.FAULT
    assert "A patch of a is stroma by one file, and tumour by another." in capsys.readouterr().err


def test_labels_of_other_slides_are_said_to_fit_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_table(tmp_path / "a.parquet", PATCHES, VECTORS)
    labels = listed(tmp_path / "labels.csv", "b")
    assert train(table, "--labels", labels, "--out", tmp_path / "h.json") == ExitStatus.FAULT
    assert "No patch has a label." in capsys.readouterr().err


def test_a_head_that_is_there_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_table(tmp_path / "a.parquet", PATCHES, VECTORS)
    out = tmp_path / "head.json"
    out.write_text("mine")
    assert train(table, "--labels", listed(tmp_path / "l.csv", "a"), "--out", out) == ExitStatus.FAULT
    assert "is there already" in capsys.readouterr().err
    assert out.read_text() == "mine"


@pytest.mark.parametrize("mpp", ["0", "21", "half", "nan"])
def test_a_resolution_that_cannot_be_is_refused(tmp_path: Path, mpp: str) -> None:
    with pytest.raises(SystemExit):
        train(tmp_path / "a", "--labels", tmp_path / "l", "--out", tmp_path / "o", "--mpp", mpp)
