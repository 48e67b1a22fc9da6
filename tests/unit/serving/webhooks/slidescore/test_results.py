"""What leaves is what Slide Score shows: closed, inside, finite, rectangular."""

from __future__ import annotations

import json

import numpy as np
import pytest
from shapely.geometry import Polygon, box

from serving.webhooks.analyses.heatmap import HeatMap
from serving.webhooks.analyses.regions import rectangle
from serving.webhooks.slidescore.results import Builder, InvalidResult, anno2, failure

BUILDER = Builder(rectangle(100, 100, 1000, 800))


def test_polygons_are_closed_and_without_holes() -> None:
    ring = box(200, 200, 600, 600) - box(300, 300, 400, 400)
    assert isinstance(ring, Polygon)
    result = BUILDER.polygons("Dark", [ring], "#ffd400")
    shapes = [[(p["x"], p["y"]) for p in shape["points"]] for shape in result["value"]]  # type: ignore[attr-defined]
    assert all(points[0] == points[-1] for points in shapes)
    assert sum(Polygon(points).area for points in shapes) == pytest.approx(ring.area)
    assert not any(Polygon(points).contains(box(310, 310, 390, 390)) for points in shapes)
    assert result["color"] == "#FFD400"
    json.dumps(result)


@pytest.mark.parametrize(
    "polygon",
    [box(0, 0, 50, 50), box(90, 90, 300, 300), box(1000, 800, 1200, 900), box(-1e9, -1e9, 1e9, 1e9)],
)
def test_a_polygon_outside_of_the_region_does_not_leave(polygon: Polygon) -> None:
    with pytest.raises(InvalidResult, match="outside"):
        BUILDER.polygons("x", [polygon], "#000000")


@pytest.mark.parametrize("point", [(0, 0), (1102, 500), (500, 902)])
def test_a_point_outside_of_the_region_does_not_leave(point: tuple[int, int]) -> None:
    with pytest.raises(InvalidResult, match="outside"):
        BUILDER.points("x", np.array([point]), "#000000")


def test_no_points_are_an_empty_list() -> None:
    assert BUILDER.points("x", np.empty((0, 2), np.int64), "#000000")["value"] == []


@pytest.mark.parametrize("colour", ["", "red", "#FFF", "#GGGGGG", "#FFFFFF00", "Turbo", "rgb(1,2,3)"])
def test_a_colour_is_six_digits(colour: str) -> None:
    with pytest.raises(InvalidResult, match="colour"):
        BUILDER.points("x", np.array([[500, 500]]), colour)


@pytest.mark.parametrize("colour", ["Turbo", "#12abEF"])
def test_an_upload_has_a_colour_or_a_colormap(colour: str) -> None:
    assert anno2("Heat", "8f51008c-9ede", colour)["value"] == "8f51008c-9ede"


def test_an_upload_without_a_uuid_does_not_leave() -> None:
    with pytest.raises(InvalidResult, match="UUID"):
        anno2("Heat", "", "Turbo")


@pytest.mark.parametrize(
    "heat",
    [
        HeatMap(0, 0, 100, np.zeros((2, 2), np.uint8)),
        HeatMap(100, 100, 100, np.zeros((9, 2), np.uint8)),
        HeatMap(100, 100, 100, np.zeros((2, 11), np.uint8)),
        HeatMap(100, 100, 0, np.zeros((2, 2), np.uint8)),
        HeatMap(100, 100, 10, np.zeros((2,), np.uint8)),
        HeatMap(100, 100, 10, np.zeros((2, 2), np.float32)),
    ],
)
def test_a_heat_map_that_is_none_or_lies_elsewhere_does_not_leave(heat: HeatMap) -> None:
    with pytest.raises(InvalidResult):
        BUILDER.checked(heat)


def test_a_failure_is_a_text() -> None:
    assert failure("why") == [{"type": "text", "name": "Analysis failed", "value": "why"}]
