from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.heads.head import HeadError
from serving.webhooks.heads.labels import read_labels
from serving.webhooks.heads.vectors import SlideVectors
from tests.support.lattice import lattice

PATCHES = lattice(4, 2, side=448, at=(0, 0))
SLIDE = SlideVectors(
    "a",
    frozenset({"a", "a.svs", "a.parquet"}),
    PATCHES.origins,
    448,
    np.zeros((8, 4), np.float32),
    0.5,
    "d",
    False,
)


def csv(tmp_path: Path, text: str, name: str = "a.csv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def box(x: float, y: float, width: float, height: float) -> dict[str, Any]:
    ring = [[x, y], [x + width, y], [x + width, y + height], [x, y + height], [x, y]]
    return {"type": "Polygon", "coordinates": [ring]}


def drawn(geometry: object, **classification: object) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": {"classification": classification}}


def geojson(tmp_path: Path, content: object, name: str = "a.geojson") -> Path:
    path = tmp_path / name
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    "text",
    [
        "x,y,label\n448,0,tumour\n0,448, stroma \n",
        "\ufeffLabel, X ,y\r\ntumour,448.0,0\r\nstroma,0,448\r\n",
        "slide,x,y,label\na,448,0,tumour\na.svs,0,448,stroma\nb,9,9,other\n",
        "x,y,x0,y0,label,note\n1,1,448,0,tumour,\n2,2,0,448,stroma,\n3,3,7,7,,no label\n",
    ],
    ids=["plain", "as spreadsheets write it", "of several slides", "with more columns"],
)
def test_a_list_labels_patches_by_their_corner(tmp_path: Path, text: str) -> None:
    labels = read_labels(csv(tmp_path, text))
    assert labels.are_of(SLIDE)
    assert labels.of(SLIDE) == [None, "tumour", None, None, "stroma", None, None, None]


@pytest.mark.parametrize(
    ("name", "text", "is_of"),
    [
        ("a.csv", "x,y,label\n0,0,t\n", True),
        ("b.csv", "x,y,label\n0,0,t\n", False),
        ("b.csv", "slide,x,y,label\na.svs,0,0,t\n", True),
        ("a.csv", "slide,x,y,label\nb,0,0,t\n", False),
    ],
)
def test_a_list_is_of_the_slide_that_it_names_or_else_is_named_as(
    tmp_path: Path, name: str, text: str, is_of: bool
) -> None:
    assert read_labels(csv(tmp_path, text, name)).are_of(SLIDE) == is_of


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no column label, x, y"),
        ("x,y\n1,2\n", "no column label"),
        ("x,y,label\n1,two,t\n", "line 2: x and y are whole numbers"),
        ("x,y,label\n1.5,2,t\n", "line 2: x and y are whole numbers"),
        ("x,y,label\nnan,2,t\n", "line 2: x and y are whole numbers"),
        ("x,y,label\n1,inf,t\n", "line 2: x and y are whole numbers"),
        ("label,x\nt,1\n", "no column y"),
        ("label,x,y\nt,1\n", "line 2: x and y are whole numbers"),
        ("x,y,label\n0,0,t\n0,0,s\n", "line 3: the patch at .0, 0. is t already"),
        ('x,y,label\n0,0,"t\n', "not a CSV file"),
    ],
)
def test_a_list_that_is_wrong_is_refused_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(HeadError, match=says):
        read_labels(csv(tmp_path, text))


def test_a_label_of_no_patch_is_refused_with_its_line(tmp_path: Path) -> None:
    labels = read_labels(csv(tmp_path, "x,y,label\n0,0,t\n448,1,t\n9,9,t\n"))
    with pytest.raises(HeadError, match=r"line 3: a has no vector of a patch at \(448, 1\)"):
        labels.of(SLIDE)


def test_areas_label_the_patches_with_their_centre_inside(tmp_path: Path) -> None:
    content = {
        "type": "FeatureCollection",
        "features": [
            drawn(box(0, 0, 900, 300), name="tumour", color=[200, 0, 16]),
            drawn(box(900, 448, 900, 448), name="stroma", colorRGB=-0x0FF0F1),
            drawn(box(1344, 448, 448, 448), name="other"),
            drawn(box(0, 448, 448, 448), name="Ignore*"),
            drawn(box(0, 448, 448, 448)),
            {
                "type": "Feature",
                "geometry": box(0, 448, 448, 448),
                "properties": {"objectType": "annotation"},
            },
            drawn({"type": "Point", "coordinates": [500, 500]}, name="cell"),
        ],
    }
    labels = read_labels(geojson(tmp_path, content))
    # The last patch is in the areas of two classes.
    assert labels.of(SLIDE) == ["tumour", "tumour", None, None, None, None, "stroma", None]
    assert labels.colours == {"tumour": "#C80010", "stroma": "#F00F0F"}


@pytest.mark.parametrize(
    "content",
    [
        [drawn(box(0, 0, 448, 448), name="t")],
        drawn(box(0, 0, 448, 448), name="t"),
        [drawn({"type": "MultiPolygon", "coordinates": [box(0, 0, 448, 448)["coordinates"]]}, name="t")],
        [drawn({"type": "GeometryCollection", "geometries": [box(0, 0, 448, 448)]}, name="t")],
        [
            drawn(
                {"type": "Polygon", "coordinates": [[[0, 0], [448, 448], [448, 0], [0, 447], [0, 0]]]},
                name="t",
            )
        ],
    ],
    ids=["list", "one feature", "multipolygon", "collection", "an eight"],
)
def test_areas_come_in_several_forms(tmp_path: Path, content: object) -> None:
    labels = read_labels(geojson(tmp_path, content, "a.svs.json"))
    assert labels.are_of(SLIDE)
    assert labels.of(SLIDE)[1:] == [None] * 7


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not GeoJSON"),
        ("[" * 10_000, "not GeoJSON"),
        ("1", "no list of features"),
        ('{"type": "FeatureCollection"}', "no list of features"),
        ("[1]", "no list of features"),
        ("[]", "no area with a classification"),
        ('[{"type": "Feature", "geometry": null, "properties": null}]', "no area with a classification"),
        (
            '[{"geometry": null, "properties": {"classification": {"name": "t"}}}]',
            "feature 0 has no geometry",
        ),
        (
            '[{"geometry": {"type": "Blob"}, "properties": {"classification": {"name": "t"}}}]',
            "feature 0 has no",
        ),
        (
            '[{"geometry": {"type": "Polygon", "coordinates": [[["a", 1]]]}, '
            '"properties": {"classification": {"name": "t"}}}]',
            "feature 0 has no geometry",
        ),
    ],
)
def test_what_is_no_geojson_with_classes_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(HeadError, match=says):
        read_labels(csv(tmp_path, text, "a.geojson"))


@pytest.mark.parametrize("name", ["a.xlsx", "a"])
def test_other_files_are_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(HeadError, match=f"{name} is not a list of labels"):
        read_labels(csv(tmp_path, "x,y,label\n", name))


def test_a_file_that_is_missing_or_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(HeadError, match=r"none\.csv cannot be read: No such file"):
        read_labels(tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(b"x,y,label\n1,2,\xff\n")
    with pytest.raises(HeadError, match=r"b\.csv is not text in UTF-8"):
        read_labels(tmp_path / "b.csv")
