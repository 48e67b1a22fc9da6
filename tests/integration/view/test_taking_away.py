"""What the page gives to take away: whole, and read by others."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shapely.geometry import box, shape

from serving.view.tables import read_table
from tests.integration.view.conftest import COLUMNS, ROWS
from tests.support.browser import ViewPage
from tests.support.view import SIDE

COUNT = COLUMNS * ROWS


@pytest.fixture
def asked(view: ViewPage) -> ViewPage:
    """A slide that is embedded, in clusters, with a query."""
    view.open_listed()
    view.wait_embedded()
    view.page.check("input[value=clusters]")
    view.wait(lambda: view.run("return session.labels !== null"), "the clusters")
    view.click_patch(2, 2)
    view.wait(lambda: view.run("return session.values !== null"), "the likeness")
    view.show("taking")
    return view


def taken(view: ViewPage, kind: str, folder: Path) -> Path:
    with view.page.expect_download() as download:
        view.page.click(f"#save-{kind}")
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def test_all_that_is_known_can_be_taken_away(asked: ViewPage, tmp_path: Path) -> None:
    _is_geojson(taken(asked, "geojson", tmp_path), asked)
    _is_csv(taken(asked, "csv", tmp_path))
    _is_parquet(taken(asked, "parquet", tmp_path))
    _is_png(taken(asked, "png", tmp_path))


def _is_geojson(path: Path, view: ViewPage) -> None:
    """A tile of QuPath for each patch: closed squares in pixels of level 0."""
    assert path.name == "tissue.svs.geojson"
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["type"] == "FeatureCollection"
    assert len(found["features"]) == COUNT
    labels = view.run("return [...session.labels.labels[0]]")
    for i, feature in enumerate(found["features"]):
        x, y = i % COLUMNS * SIDE, i // COLUMNS * SIDE
        (ring,) = feature["geometry"]["coordinates"]
        assert ring[0] == ring[-1]
        assert len(ring) == 5
        assert shape(feature["geometry"]).equals(box(x, y, x + SIDE, y + SIDE))
        properties = feature["properties"]
        assert properties["objectType"] == "tile"
        assert -1 <= properties["measurements"]["likeness"] <= 1
        assert properties["classification"]["name"] == f"Cluster {labels[i] + 1}"
        assert all(0 <= value <= 255 for value in properties["classification"]["color"])


def _is_csv(path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    assert len(rows) == COUNT
    assert [(int(r["x0"]), int(r["y0"])) for r in rows] == [
        (x * SIDE, y * SIDE) for y in range(ROWS) for x in range(COLUMNS)
    ]
    assert max(rows, key=lambda row: float(row["likeness"]))["column"] == "2"
    assert {row["width0"] for row in rows} == {str(SIDE)}
    assert {row["error"] for row in rows} == {""}


def _is_parquet(path: Path) -> None:
    table = read_table(path.read_bytes())
    assert table.vectors.shape == (COUNT, 384)
    assert np.isfinite(table.vectors).all()
    assert table.about["frame"]["mpp"] == pytest.approx(0.5)
    assert table.about["slide"]["instance"] == "tissue.svs"
    assert table.about["encoder"] == "poisonable"
    assert table.places[COLUMNS + 1].tolist() == [SIDE, SIDE]


def _is_png(path: Path) -> None:
    image = Image.open(path)
    assert image.format == "PNG"
    pixels = np.asarray(image.convert("RGB"))
    legend = pixels[-50:]
    assert len(np.unique(legend.reshape(-1, 3), axis=0)) > 50, "a gradient and text are below the slide"


def test_a_parquet_that_was_taken_away_opens_again_on_its_slide(asked: ViewPage, tmp_path: Path) -> None:
    path = taken(asked, "parquet", tmp_path)
    before = asked.run("return [...session.slides[0].vectors.bits.slice(0, 2000)]")
    asked.opening(lambda: asked.page.set_input_files("#file", str(path)))
    assert asked.run("return session.slides[0].vectors.done") == COUNT
    assert asked.run("return [...session.slides[0].vectors.bits.slice(0, 2000)]") == before
    assert asked.run("return session.slides[0].facts.source !== null"), "its slide is under it"
    asked.click_patch(5, 5)
    asked.wait(lambda: asked.run("return session.values !== null"), "the likeness")
