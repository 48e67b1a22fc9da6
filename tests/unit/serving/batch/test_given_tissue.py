"""Tissue that people outlined: masks and GeoJSON, and what is wrong with them."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_io.geometry import Patch
from dicom_io.sources.session import ReadContext
from serving.batch.given_tissue import TissueError, read_tissue, tissue_file
from serving.config.settings import Settings
from serving.processes.assembly import read_context
from tests.support.tissue import encode

WIDTH, HEIGHT = 20_000, 10_000


@pytest.fixture(scope="module")
def context() -> Iterator[ReadContext]:
    found = read_context(Settings())
    with contextlib.closing(found.decoders):
        yield found


def square(x: float, y: float, side: float) -> list[list[float]]:
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]


def feature(kind: str, coordinates: Any, name: str | None = None) -> dict[str, Any]:
    properties = {} if name is None else {"objectType": "annotation", "classification": {"name": name}}
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "properties": properties, "geometry": geometry}


OUTER, HOLE, OTHER = square(2000, 2000, 4000), square(3000, 3000, 1000), square(12_000, 2000, 2000)
WITH_HOLE = feature("Polygon", [OUTER, HOLE])
BOTH = feature("MultiPolygon", [[OUTER, HOLE], [OTHER]])


@pytest.mark.parametrize(
    ("outlines", "has_other"),
    [
        ({"type": "FeatureCollection", "features": [WITH_HOLE]}, False),
        ([WITH_HOLE, feature("Polygon", [OTHER])], True),
        (BOTH, True),
        (BOTH["geometry"], True),
        ({"type": "GeometryCollection", "geometries": [BOTH["geometry"]]}, True),
        ([WITH_HOLE, feature("Polygon", [OTHER], "Ignore*")], False),
        ([WITH_HOLE, feature("Point", [13_000, 3000]), {**WITH_HOLE, "geometry": None}], False),
        ([WITH_HOLE, feature("Polygon", [square(3000, 3000, 10)])], False),
    ],
)
def test_outlines_are_drawn_with_their_holes(
    tmp_path: Path, context: ReadContext, outlines: object, has_other: bool
) -> None:
    path = tmp_path / "slide.geojson"
    path.write_text(json.dumps(outlines))
    found = read_tissue(path, WIDTH, HEIGHT, context)
    assert found.share(Patch(2100, 2100, 800, 800)) == 1
    assert found.share(Patch(3100, 3100, 800, 800)) < 0.01
    assert found.share(Patch(6100, 2100, 800, 800)) == 0
    assert found.share(Patch(2000, 2000, 4000, 4000)) == pytest.approx(15 / 16, abs=0.01)
    assert found.share(Patch(12_100, 2100, 800, 800)) == has_other


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.geojson", b"", "is not GeoJSON: "),
        ("a.geojson", b"[1]", "is not GeoJSON of polygons; export"),
        ("a.geojson", b"{}", "is not GeoJSON of polygons"),
        ("a.geojson", b'{"type": "Polygon", "coordinates": [[["x", 1]]]}', "is not GeoJSON of polygons"),
        ("a.geojson", b'{"type": "Polygon", "coordinates": [[[NaN, 1], [1, 1]]]}', "far outside"),
        ("a.geojson", b'{"type": "Polygon", "coordinates": [[[1e300, 1], [1, 1]]]}', "far outside"),
        ("a.geojson", b"[" * 100_000, "is not GeoJSON: "),
        ("a.geojson", b"[]", "outlines no tissue"),
        ("a.png", encode(np.full((100, 100), 255, np.uint8)), "not the shape of the slide, 20000x10000"),
        ("a.png", encode(np.zeros((100, 200), np.uint8)), "outlines no tissue"),
        ("a.png", b"not a picture", "is not a mask that can be read"),
        ("a.png", encode(np.zeros((100, 200), np.uint8))[:60], "is not a mask that can be read"),
    ],
)
def test_a_file_that_outlines_nothing_says_why(
    tmp_path: Path, context: ReadContext, name: str, content: bytes, said: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(TissueError, match=said):
        read_tissue(path, WIDTH, HEIGHT, context)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_what_is_not_black_in_a_mask_is_tissue(tmp_path: Path, context: ReadContext, channels: int) -> None:
    mask = np.zeros((500, 1000, channels), np.uint8)
    mask[:, :500, 0] = 1
    if channels in (2, 4):
        mask[:, :, -1] = 255  # opaque black is no tissue
    path = tmp_path / "a.png"
    path.write_bytes(encode(mask.squeeze()))
    found = read_tissue(path, WIDTH, HEIGHT, context)
    assert (found.share(Patch(0, 0, 9000, 9000)), found.share(Patch(11_000, 0, 9000, 9000))) == (1, 0)


def test_a_file_that_is_missing_is_named(tmp_path: Path, context: ReadContext) -> None:
    with pytest.raises(TissueError, match="No such file"):
        read_tissue(tmp_path / "a.png", WIDTH, HEIGHT, context)
    with pytest.raises(TissueError, match=r"has no a\.png or a\.geojson or a\.json for this slide"):
        tissue_file(tmp_path, "a")
    (tmp_path / "a.json").touch()
    assert tissue_file(tmp_path, "a") == tmp_path / "a.json"


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TissueError, match="pipe is neither a file nor a folder"):
        tissue_file(tmp_path / "pipe", "a")
