from __future__ import annotations

import numpy as np
import pytest
import shapely

from serving.config.settings import load_settings
from serving.webhooks.analyses.heatmap import HeatMap
from serving.webhooks.techcyte import reports
from serving.webhooks.techcyte.qc import Quality, reasons
from serving.webhooks.techcyte.shown import MOST_AREAS, Shown, heat_map, points, segment

SLIDE = shapely.box(0, 0, 20_000, 20_000)


def squares(count: int) -> list[shapely.Polygon]:
    return [shapely.box(10 * n, 0, 10 * n + 8, 8) for n in range(count)]


def test_a_segment_draws_the_largest_areas_and_says_what_it_leaves_out() -> None:
    few = segment("Tumour", squares(3), "#FF0000", "half of it")
    assert few.result == "half of it"
    assert [one.properties for one in few.feature_collection.features] == 3 * [
        {"name": "Tumour", "color": "#FF0000"}
    ]
    many = segment("Tumour", squares(MOST_AREAS + 1), "#FF0000", "half of it")
    assert len(many.feature_collection.features) == MOST_AREAS
    assert many.result == "half of it; the 2,000 largest of 2,001 areas are drawn"
    assert segment("None", [], "#FF0000").feature_collection.features == []


def test_a_heat_map_has_as_many_colours_as_contours_and_is_bounded() -> None:
    values = np.full((9, 9), 10, np.uint8)
    assert heat_map(HeatMap(0, 0, 100, values), "similarity", SLIDE) == (), "low throughout"
    values[3:6, 3:6] = 255
    (feature,) = heat_map(HeatMap(0, 0, 100, values), "similarity", SLIDE)
    colours = feature.properties["contour_colors"]
    assert isinstance(colours, list)
    assert len(colours) == 4
    chessboard = (np.indices((120, 120)).sum(axis=0) % 2 * 255).astype(np.uint8)
    (feature,) = heat_map(HeatMap(0, 0, 100, chessboard), "similarity", SLIDE)
    assert isinstance(feature.geometry, reports.GeometryCollection)
    assert len(feature.geometry.geometries) == MOST_AREAS
    assert points(np.zeros((0, 2), np.int64), "most similar") == ()


def test_what_a_class_is_called_cannot_replace_the_summary() -> None:
    shown = Shown("Classes", "Largest", "summary", (), facts={"summary": 0.5})
    result = shown.result("1", "Our laboratory", "in words")
    assert result.results == {"summary": "in words"}
    assert result.geojson is None
    assert result.qc_fail_reasons is None


NAMES = {"empty": "No tissue", "blur": "blurry"}


@pytest.mark.parametrize(
    ("findings", "sent"),
    [
        ((), ()),
        (("blur",), ("blurry",)),
        (("empty", "blur"), ("No tissue", "blurry")),
        (("blur", "pen"), ("blurry",)),
        (("pen",), None),
    ],
)
def test_no_reason_is_sent_only_of_a_scan_in_which_nothing_was_found(
    findings: tuple[str, ...], sent: tuple[str, ...] | None
) -> None:
    assert reasons(findings, NAMES) == sent


def test_what_is_found_follows_from_the_measures_and_the_settings() -> None:
    settings = load_settings({}, {}).techcyte_analyses
    good = Quality(tissue=0.2, pen=0.0, blurred=0.1, median_blur=0.35)
    assert good.findings(settings) == ()
    assert Quality(0.001, 0.1, 0.9, None).findings(settings) == ("empty", "blur", "pen")
    strict = load_settings({"PATHSERVE_TECHCYTE_QC_MOST_BLURRED": 0.05}, {}).techcyte_analyses
    assert good.findings(strict) == ("blur",)
