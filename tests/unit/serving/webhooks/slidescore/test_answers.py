"""What users draw and type, and what arrives instead."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import Code, ServiceError
from serving.webhooks.slidescore.answers import Answers, as_number
from serving.webhooks.slidescore.body import AnalysisName, Asked, parse_body

NUMBERS = st.one_of(
    st.integers(-100, 10_000), st.floats(), st.sampled_from(["12", "1e3", "x", None, True, 10**400])
)
POINTS = st.fixed_dictionaries({"x": NUMBERS, "y": NUMBERS})
RINGS = st.lists(POINTS, max_size=6)
SHAPES = st.one_of(
    st.fixed_dictionaries(
        {"corner": POINTS, "size": POINTS}, optional={"type": st.sampled_from(["rect", None, 3])}
    ),
    st.fixed_dictionaries({"type": st.just("polygon"), "points": RINGS}),
    st.fixed_dictionaries({"type": st.just("ellipse"), "center": POINTS, "size": POINTS}),
    st.fixed_dictionaries(
        {"type": st.just("brush"), "positivePolygons": st.lists(RINGS, max_size=3)},
        optional={"negativePolygons": st.lists(RINGS, max_size=2)},
    ),
    POINTS,
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(["type", "corner", "size", "x", "y", "points", "name"]), inner, max_size=4
        ),
    ),
    max_leaves=12,
)


@given(value=st.one_of(JSON, st.lists(SHAPES, max_size=4)), as_text=st.booleans())
def test_whatever_is_drawn_is_a_region_or_refused_in_words(value: object, as_text: bool) -> None:
    given_value = json.dumps(value) if as_text else value
    for ask in (Answers.region, Answers.region_or_points):
        try:
            region = ask(Answers([{"name": "roi", "value": given_value}]), "ROI")
        except ServiceError as error:
            assert error.code is Code.INVALID_REQUEST_FIELD_ERROR
            assert error.description.startswith("ROI")
        else:
            assert region is not None
            assert region.is_valid
            assert all(abs(bound) < 1 << 28 for bound in region.bounds)


@given(body=st.dictionaries(st.sampled_from(["imageid", "answers", "caseid", "studyid"]), JSON))
def test_whatever_is_posted_is_understood_or_refused_in_words(body: dict[str, Any]) -> None:
    try:
        data = orjson.dumps(body)
    except TypeError:  # a number that JSON's writer does not write
        return
    for analysis in AnalysisName:
        try:
            asked = parse_body(data).asked(analysis, "https://slides.example")
        except ServiceError as error:
            assert error.code is Code.INVALID_REQUEST_FIELD_ERROR
        else:
            assert Asked.of_payload(asked.payload()) == asked


@pytest.mark.parametrize(
    ("answer", "area"),
    [
        ('[{"corner":{"x":10,"y":20},"size":{"x":30,"y":40}}]', 1200),
        ('[{"corner":{"x":"10","y":"20"},"size":{"x":"30","y":"40"}}]', 1200),
        ('[{"type":"rect","corner":{"x":40,"y":60},"size":{"x":-30,"y":-40}}]', 1200),
        ('{"corner":{"x":10,"y":20},"size":{"x":30,"y":40}}', 1200),
        ('[{"corner":{"x":null,"y":null}},{"corner":{"x":0,"y":0},"size":{"x":5,"y":4}}]', 20),
        ('[{"type":"Polygon","points":[{"x":0,"y":0},{"x":10,"y":0},{"x":10,"y":10}]}]', 50),
    ],
)  # fmt: skip
def test_shapes_have_the_area_that_was_drawn(answer: str, area: float) -> None:
    region = Answers([{"name": "ROI", "value": answer}]).region("ROI")
    assert region is not None
    assert region.area == pytest.approx(area)


def test_an_answer_that_is_not_there_is_no_region() -> None:
    assert Answers(None).region("ROI") is None
    assert Answers([]).region("ROI") is None


def test_a_job_gets_back_what_was_asked() -> None:
    region = shapely.Point(100, 100).buffer(50) - shapely.Point(100, 100).buffer(20)
    assert isinstance(region, shapely.Polygon)
    asked = Asked(AnalysisName.CLUSTER, "https://slides.example", 7, region, None, 0.5, 4, 10)
    again = Asked.of_payload(asked.payload())
    assert again.region is not None
    assert again.region.equals(region)
    assert (again.image_id, again.um_per_px, again.clusters, again.max_patches) == (7, 0.5, 4, 10)


@pytest.mark.parametrize(
    ("text", "um_per_px"),
    [
        ("20x", 0.5),
        ("40X", 0.25),
        ("0.5", 0.5),
        (" 0,25 µm ", 0.25),
        ("20", 0.5),
        ("1 µm/px", 1.0),
        ("2.5x", 4.0),
    ],
)
def test_a_magnification_is_a_resolution(text: str, um_per_px: float) -> None:
    body = {"imageid": 1, "answers": [{"name": "Magnification", "value": text}]}
    asked = parse_body(orjson.dumps(body)).asked(AnalysisName.CLUSTER, "https://slides.example")
    assert asked.um_per_px == pytest.approx(um_per_px)


@pytest.mark.parametrize("value", [None, True, [], "", "x", "nan", "-inf", 10**400, "1" * 400, float("inf")])
def test_what_is_no_finite_number_is_none(value: object) -> None:
    assert as_number(value) is None
