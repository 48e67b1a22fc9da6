"""Reports for Techcyte: every example of its page, what is mended in them, and what is refused."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import box as shapely_box

from serving.webhooks.techcyte import reports
from serving.webhooks.techcyte.reports import Api, ReportError, SlideSize, prepare, read_results
from tests.support import techcyte_examples as examples

SLIDE = SlideSize(100_000, 80_000)
SCANS: dict[str, SlideSize | None] = dict.fromkeys(("8946136", "T1J4hvqyD4", "T1J4hvqyD5"), SLIDE)


def posted(content: dict[str, Any], api: Api = Api.V2, scans: dict[str, SlideSize | None] = SCANS) -> Any:
    return prepare(read_results(content), scans, api).body


def refused(content: dict[str, Any], api: Api = Api.V2) -> tuple[str, ...]:
    with pytest.raises(ReportError) as caught:
        prepare(read_results(content), SCANS, api)
    return caught.value.faults


def changed(content: dict[str, Any], *keys: str | int, to: Any) -> dict[str, Any]:
    """Return JSON in which a value is another."""
    copied: Any = copy.deepcopy(content)
    inner = copied
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = to
    assert isinstance(copied, dict)
    return copied


def without(content: dict[str, Any], *keys: str | int) -> dict[str, Any]:
    copied: Any = copy.deepcopy(content)
    inner = copied
    for key in keys[:-1]:
        inner = inner[key]
    del inner[keys[-1]]
    assert isinstance(copied, dict)
    return copied


PLACE = st.integers(-30, 130) | st.floats(-30, 130)
REPORT = ("scanResults", 0, "workflow", "report")
FEATURES = ("scanResults", 0, "geojson", "features")


@pytest.mark.parametrize("name", examples.OF_VERSION_2)
def test_every_example_of_the_second_version_can_be_sent(name: str) -> None:
    posting = prepare(read_results(examples.OF_VERSION_2[name], lenient=True), SCANS, Api.V2)
    assert posting.case is None
    assert posting.left_out == ()
    sent = json.loads(json.dumps(posting.body, allow_nan=False))
    assert prepare(read_results(sent), SCANS, Api.V2).body == sent, "what is mended needs no mending"


@pytest.mark.parametrize("name", examples.OF_VERSION_3)
def test_every_example_of_the_third_version_can_be_sent(name: str) -> None:
    posting = prepare(read_results(examples.OF_VERSION_3[name]), SCANS, Api.V3)
    assert posting.left_out == ()
    sent = json.loads(json.dumps(posting.body, allow_nan=False))
    assert prepare(read_results(sent), SCANS, Api.V3).body == sent


def test_a_number_that_begins_with_a_point_is_not_json() -> None:
    with pytest.raises(ReportError, match="the results are not JSON"):
        read_results(examples.annotated_as_written())


def test_open_rings_are_closed() -> None:
    regions = posted(examples.area())["scanResults"][0]["workflow"]["report"]["regions"]
    rings = [region["region"]["geometry"]["coordinates"][0] for region in regions]
    assert [len(ring) for ring in rings] == [31, 25]
    assert all(ring[0] == ring[-1] for ring in rings)
    assert [region["region"]["bbox"] for region in regions] == [
        [11512, 41252, 13048, 42850],
        [34664, 16392, 36298, 17894],
    ]


def test_a_box_is_that_of_its_geometry_whatever_was_given() -> None:
    first, second = posted(examples.annotated())["scanResults"]
    tumour, heat = first["geojson"]["features"]
    assert tumour["bbox"] == [250, 100, 300, 250]
    assert heat["bbox"] == [1, 2, 3, 5]
    assert second["geojson"]["features"][0]["bbox"] == [60, 30, 90, 50]


def test_a_text_for_a_truth_is_refused_unless_one_is_lenient() -> None:
    assert refused(examples.basic("True")) == (
        "scanResults[0].workflow.ruo: Input should be a valid boolean",
    )
    for text, truth in [("True", True), ("false", False)]:
        lenient = read_results(examples.basic(text), lenient=True)
        assert prepare(lenient, SCANS, Api.V2).body["scanResults"][0]["workflow"]["ruo"] is truth
    for value in (1, 0, None, "yes", ""):
        with pytest.raises(ReportError, match="ruo"):
            read_results(examples.basic(value), lenient=True)


@pytest.mark.parametrize("api", Api)
def test_a_threshold_among_the_scores_is_sent_where_it_belongs(api: Api) -> None:
    report = posted(examples.area("8946136"), api)["scanResults"][0]["workflow"]["report"]
    assert report["positivity_threshold"] == examples.THRESHOLD
    assert report["scores"] == {"proliferation_score": examples.SCORE}


def test_a_triage_is_sent_with_the_case_or_by_itself() -> None:
    results = read_results(examples.OF_VERSION_2["triage"])
    second, third = (prepare(results, SCANS, api) for api in (Api.V2, Api.V3))
    assert second.body["caseResults"] == {"triage": {"category": "Basaloid", "score": 0.87}}
    assert second.case is None
    assert "caseResults" not in third.body
    assert third.case == {"triage_category": "Basaloid", "triage_score": 0.87}


def test_what_else_is_said_of_the_case_is_kept_in_both_versions() -> None:
    content = examples.whole_slide() | {"caseResults": {"n": 3, "triage": {"category": "c", "score": 1}}}
    assert posted(content, Api.V3)["caseResults"] == {"n": 3}
    assert posted(content, Api.V2)["caseResults"] == {"n": 3, "triage": {"category": "c", "score": 1}}


@pytest.mark.parametrize(
    "colours",
    [["#AA0000", "#CC0000"], ["#AA0000"] * 4, [], None, ["#AA0000", "red", "#FF0000"], "#AA0000", 3],
)
def test_a_heat_map_has_a_colour_a_contour(colours: Any) -> None:
    content = changed(examples.annotated(), *FEATURES, 1, "properties", "contour_colors", to=colours)
    (fault,) = refused(content)
    assert fault.startswith("scanResults[0].geojson.features[1]: contour_colors")


def test_colours_may_be_misspelt_as_the_page_has_it() -> None:
    content = examples.annotated()
    properties = content["scanResults"][0]["geojson"]["features"][1]["properties"]
    properties["countour_colors"] = properties.pop("contour_colors")
    heat = posted(content)["scanResults"][0]["geojson"]["features"][1]
    assert heat["properties"]["contour_colors"] == ["#AA0000", "#CC0000", "#FF0000"]
    assert "countour_colors" not in heat["properties"]


def test_one_scan_that_is_wrong_stops_all_and_all_that_is_wrong_is_said() -> None:
    content = examples.annotated()
    content["scanResults"][1]["geojson"]["features"][0]["geometry"]["coordinates"][0][0] = math.nan
    content["scanResults"][1]["results"]["summary"] = 5
    content["scanResults"][0]["surprise"] = 1
    with pytest.raises(ReportError) as caught:
        read_results(content)
    assert caught.value.faults == (
        "scanResults[0].surprise: Extra inputs are not permitted",
        "scanResults[1].results: summary should be a text",
        "scanResults[1].geojson.features[0].geometry.coordinates[0][0]: Input should be a finite number",
    )


def test_faults_of_several_scans_are_said_together() -> None:
    flat = [[[1, 1], [2, 2], [3, 3], [1, 1]]]
    one, other = examples.area("8946136"), examples.area("another")
    one["scanResults"] += other["scanResults"]
    for scan in one["scanResults"]:
        scan["workflow"]["report"]["regions"][1]["region"]["geometry"]["coordinates"] = flat
    assert refused(one, Api.V3) == (
        "scanResults[0].workflow.report.regions[1].region.geometry: has no area on the slide",
        "scanResults[1].scanId: another is not a scan of the task",
        "scanResults[1].workflow.report.regions[1].region.geometry: has no area",
    )


def test_many_faults_are_all_there_and_the_text_stays_short() -> None:
    content = examples.whole_slide()
    content["scanResults"][0]["workflow"]["report"]["points"] = [{"x": "a"}] * 500
    with pytest.raises(ReportError, match="and 1980 more") as caught:
        read_results(content)
    assert len(caught.value.faults) == 2000
    assert len(str(caught.value)) < 3000


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({}, "scanResults: Field required"),
        ({"scanResults": []}, "scanResults: List should have at least 1 item"),
        ({"scanResults": 5}, "scanResults: "),
        (changed(examples.whole_slide(), *REPORT, "type", to="WholeSlide"), "report: Input tag 'WholeSlide'"),
        (without(examples.whole_slide(), *REPORT, "type"), "report: Unable to extract tag"),
        (
            without(examples.whole_slide(), *REPORT, "positivity_threshold"),
            "threshold: Field required",
        ),
        (
            changed(examples.whole_slide(), *REPORT, "scores", "s", to="high"),
            ".s: Input should be a numb",
        ),
        (
            changed(examples.whole_slide(), *REPORT, "scores", "s", to=math.inf),
            ".s: Input should be a fin",
        ),
        (
            changed(examples.whole_slide(), *REPORT, "scores", "s", to=True),
            ".s: Input should be a numb",
        ),
        (changed(examples.whole_slide(), *REPORT, "points", 0, "z", to=1), "points[0].z: Extra inputs"),
        (without(examples.whole_slide(), *REPORT, "points", 1, "score"), "points[1].score: Field required"),
        (
            changed(examples.basic(), *REPORT, "segments", 0, "feature_collection", "features", to=None),
            "list",
        ),
        (
            changed(examples.annotated(), *FEATURES, 0, "geometry", "type", to="Circle"),
            "tag 'Circle'",
        ),
        (changed(examples.annotated(), *FEATURES, 0, "geometry", "coordinates", to=[]), "at least 1 item"),
        (
            changed(examples.annotated(), *FEATURES, 0, "geometry", "coordinates", 0, 1, to=[1, 2, 3]),
            "coordinates[0][1]: List should have at most 2 items",
        ),
        (
            without(examples.annotated(), *FEATURES, 0, "properties", "annotation_type"),
            "features 0 have",
        ),
        (
            changed(examples.annotated(), *FEATURES, 1, "properties", "annotation_type", to=4),
            "geojson: features 1 have no text annotation_type",
        ),
        (changed(examples.annotated(), "scanResults", 0, "qcFailReasons", to="blurry"), "qcFailReasons: "),
        (
            changed(examples.annotated(), "scanResults", 0, "results", "external_url", to=1),
            "external_url s",
        ),
        (changed(examples.annotated(), "scanResults", 0, "results", "n", to=math.nan), "finite"),
        (changed(examples.annotated(), "scanResults", 0, "results", "n", to=[1 << 70]), "64-bit"),
        (changed(examples.annotated(), "scanResults", 0, "results", "n", to="\ud800"), "surrogates"),
        (
            changed(examples.annotated(), *FEATURES, 0, "properties", "n", to={"\ud800": 1}),
            "features[0].properties: cannot be written",
        ),
        (
            changed(examples.annotated(), *FEATURES, 0, "geometry", "coordinates", 0, 1, to=[1 << 63, 0]),
            "coordinates[0][1][0]: Input should be a number of at most 64 bits",
        ),
        (changed(examples.whole_slide(), *REPORT, "scores", "s", to=10**400), "64 bits"),
        (changed(examples.annotated(), "scanResults", 1, "scanId", to="T1J4hvqyD4"), "has results twice"),
        (
            changed(examples.OF_VERSION_2["triage"], "caseResults", "triage", to={"category": "a"}),
            "triage.score",
        ),
    ],
)
def test_what_cannot_be_mended_is_refused_with_its_place(content: dict[str, Any], says: str) -> None:
    with pytest.raises(ReportError) as caught:
        read_results(content)
    assert says in caught.value.faults[0]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"scanResults": NaN}', "[" * 100_000, b"\xff"])
def test_what_is_not_json_of_results_is_refused(text: str | bytes) -> None:
    with pytest.raises(ReportError):
        read_results(text)


@pytest.mark.parametrize("name", ["region counting", "mitosis counting", "cellularity"])
def test_reports_of_the_third_version_are_refused_by_the_second(name: str) -> None:
    (fault,) = refused(examples.OF_VERSION_3[name], Api.V2)
    assert "scanResults[0].workflow.report.type: version 2 knows no " in fault


@pytest.mark.parametrize("scan", ["T1J4hvqyD4", "²", "-5", "8946136 "])
def test_the_third_version_has_numbers_for_scans(scan: str) -> None:
    with pytest.raises(ReportError, match="is not a number, as version 3 wants it"):
        prepare(read_results(examples.area(scan)), {scan: None}, Api.V3)


def test_a_scan_that_is_a_number_becomes_a_text() -> None:
    content = changed(examples.area(), "scanResults", 0, "scanId", to=8946136)
    assert posted(content, Api.V3)["scanResults"][0]["scanId"] == "8946136"


@pytest.mark.parametrize(
    ("given", "sent"), [(4, "4"), (4.0, "4"), (0.125, "0.125"), (1e-9, "1e-09"), ("4+", "4+"), ("", "")]
)
def test_results_are_texts(given: Any, sent: str) -> None:
    content = changed(examples.basic(), *REPORT, "results", 0, "result", to=given)
    assert posted(content)["scanResults"][0]["workflow"]["report"]["results"][0]["result"] == sent


@pytest.mark.parametrize("given", [None, True, math.nan, [1], {}])
def test_what_is_no_text_for_a_result_is_refused(given: Any) -> None:
    (fault,) = refused(changed(examples.basic(), *REPORT, "results", 0, "result", to=given))
    assert fault.startswith("scanResults[0].workflow.report.results[0].result: ")


def test_a_segment_without_a_result_is_sent_with_an_empty_one() -> None:
    content = without(examples.basic(), *REPORT, "segments", 0, "result")
    assert posted(content)["scanResults"][0]["workflow"]["report"]["segments"][0]["result"] == ""


def test_quality_is_only_said_where_it_was_checked() -> None:
    assert "qcFailReasons" not in posted(examples.area())["scanResults"][0]
    for reasons in ([], ["blurry"]):
        content = changed(examples.area(), "scanResults", 0, "qcFailReasons", to=reasons)
        assert posted(content)["scanResults"][0]["qcFailReasons"] == reasons
    content = changed(examples.area(), "scanResults", 0, "qcFailReasons", to=None)
    assert "qcFailReasons" not in posted(content)["scanResults"][0]


def test_points_have_a_score_in_the_third_version_only() -> None:
    content = examples.semi_quantitative()
    for point in content["scanResults"][0]["workflow"]["report"]["points"]:
        del point["score"]
    second, third = (
        posted(content, api)["scanResults"][0]["workflow"]["report"]["points"][0] for api in (Api.V2, Api.V3)
    )
    assert "score" not in second
    assert third["score"] == 0


def drawn(*geometries: dict[str, Any]) -> reports.Posting:
    """Return what is sent of annotations on a slide of 100 x 100 pixels."""
    return sent_of(*(examples.feature(geometry, annotation_type="t") for geometry in geometries))


def sent_of(*features: dict[str, Any]) -> reports.Posting:
    content: dict[str, Any] = {"scanResults": [{"scanId": "1", "geojson": examples.collection(*features)}]}
    return prepare(read_results(content), {"1": SlideSize(100, 100)}, Api.V3)


def geometries(posting: reports.Posting) -> list[Any]:
    return [feature["geometry"] for feature in posting.body["scanResults"][0]["geojson"]["features"]]


def polygon(*rings: Any) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings)}


@pytest.mark.parametrize(
    "ring",
    [[], [[1, 1]], [[1, 1], [5, 5]], [[1, 1], [5, 5], [1, 1]], [[1, 1], [5, 5], [9, 9]], [[3, 3]] * 5],
    ids=["empty", "a point", "two points", "there and back", "a line", "five times one point"],
)
def test_what_has_no_area_is_left_out_and_said(ring: list[list[float]]) -> None:
    posting = drawn(polygon(ring), examples.box(1, 1, 5, 5))
    assert geometries(posting) == [examples.box(1, 1, 5, 5)]
    assert posting.left_out == ("scanResults[0].geojson.features: 1 of 2 left out, off the slide or empty",)


def test_a_hole_without_an_area_is_left_out_and_others_are_closed() -> None:
    shell, hole = [[0, 0], [50, 0], [50, 50], [0, 50]], [[10, 10], [20, 10], [20, 20]]
    (found,) = geometries(drawn(polygon(shell, hole, [[30, 30], [31, 31], [32, 32]])))
    assert found["coordinates"] == [[*shell, shell[0]], [*hole, hole[0]]]


def test_rings_may_turn_either_way_and_cross_themselves() -> None:
    ring = [[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]
    assert geometries(drawn(polygon(ring), polygon(ring[::-1]))) == [polygon(ring), polygon(ring[::-1])]


def test_polygons_are_cut_at_the_border_of_the_slide() -> None:
    posting = drawn(examples.box(-20, 50, 30, 120), examples.box(200, 200, 300, 300))
    (feature,) = posting.body["scanResults"][0]["geojson"]["features"]
    assert feature["bbox"] == [0, 50, 30, 100]
    assert len(feature["geometry"]["coordinates"][0]) == 5
    assert "1 of 2 left out" in posting.left_out[0]


def test_a_polygon_that_the_border_parts_becomes_a_feature_each() -> None:
    comb = polygon([[90, 0], [120, 0], [120, 50], [90, 50], [90, 40], [110, 40], [110, 10], [90, 10]])
    posting = drawn(comb)
    found = posting.body["scanResults"][0]["geojson"]["features"]
    assert sorted(feature["bbox"] for feature in found) == [[90, 0, 100, 10], [90, 40, 100, 50]]
    assert all(feature["properties"] == {"annotation_type": "t"} for feature in found)
    assert posting.left_out == ()


@given(st.lists(st.lists(st.tuples(PLACE, PLACE), max_size=7), min_size=1, max_size=3))
def test_whatever_is_drawn_is_sent_closed_on_the_slide_and_needs_no_mending_again(rings: Any) -> None:
    first = drawn(polygon(*rings))
    for feature in first.body["scanResults"][0]["geojson"]["features"]:
        shell = feature["geometry"]["coordinates"][0]
        xs, ys = zip(*shell, strict=True)
        assert feature["bbox"] == [min(xs), min(ys), max(xs), max(ys)]
        assert min(xs) >= 0 <= min(ys)
        assert max(xs) <= 100 >= max(ys)
        assert all(ring[0] == ring[-1] and len(ring) >= 4 for ring in feature["geometry"]["coordinates"])
    again = prepare(read_results(first.body), {"1": SlideSize(100, 100)}, Api.V3)
    assert again.body == first.body
    assert again.left_out == ()


def test_several_polygons_in_one_become_a_feature_each() -> None:
    parts = [examples.box(0, 0, 10, 10)["coordinates"], examples.box(20, 0, 30, 10)["coordinates"]]
    found = geometries(drawn({"type": "MultiPolygon", "coordinates": parts}))
    assert found == [examples.box(0, 0, 10, 10), examples.box(20, 0, 30, 10)]


def test_points_and_contours_off_the_slide_are_left_out_with_their_colours() -> None:
    places = {"type": "MultiPoint", "coordinates": [[5, 5], [100, 100], [101, 5], [5, -1]]}
    contours = [examples.box(0, 0, 9, 9), examples.box(500, 0, 600, 9), examples.box(1, 1, 5, 5)]
    heat = examples.feature(
        {"type": "GeometryCollection", "geometries": contours},
        annotation_type="heat",
        contour_colors=["#000001", "#000002", "#000003"],
    )
    sent = sent_of(examples.feature(places, annotation_type="t"), heat).body["scanResults"][0]["geojson"][
        "features"
    ]
    assert sent[0]["geometry"]["coordinates"] == [[5, 5], [100, 100]]
    assert sent[1]["geometry"]["geometries"] == [contours[0], contours[2]]
    assert sent[1]["properties"]["contour_colors"] == ["#000001", "#000003"]


def test_cells_and_boxes_off_the_slide_are_left_out_and_said() -> None:
    slide: dict[str, SlideSize | None] = {"8946136": SlideSize(16_800, 41_900)}
    posting = prepare(read_results(examples.whole_slide()), slide, Api.V3)
    assert [point["y"] for point in posting.body["scanResults"][0]["workflow"]["report"]["points"]] == [
        41884,
        41282,
    ]
    assert posting.left_out == (
        "scanResults[0].workflow.report.points: 1 of 3 left out, off the slide or empty",
    )
    content = changed(examples.counting(), *REPORT, "objects", 0, "width", to=0)
    report = posted(content, Api.V3, slide)["scanResults"][0]["workflow"]["report"]
    assert report["objects"] == [{"x": 16780, "y": 8460, "width": 20, "height": 64}]
    assert report["regions"][0]["bbox"] == [16700, 8380, 16800, 8600]


@pytest.mark.parametrize(
    ("geometry", "says"),
    [
        (polygon([[1, 1], [5, 5], [9, 9]]), "has no area on the slide"),
        (examples.box(200_000, 0, 200_010, 10), "has no area on the slide"),
        (examples.box(0, 0, 5, 5) | {"type": "MultiPoint", "coordinates": [[1, 1]]}, "should be a Polygon"),
        (
            polygon(
                [[99_990, 0], [100_020, 0], [100_020, 50], [99_990, 50], [99_990, 40], [100_010, 40],
                 [100_010, 10], [99_990, 10]]
            ),
            "is in 2 parts on the slide",
        ),
    ],
)  # fmt: skip
def test_a_region_that_is_counted_in_is_one_polygon_on_the_slide(geometry: dict[str, Any], says: str) -> None:
    for content, keys in [
        (examples.area("8946136"), (*REPORT, "regions", 0, "region", "geometry")),
        (examples.counting(), (*REPORT, "regions", 0, "geometry")),
        (examples.cellularity(), (*REPORT, "threshold_map", "TC 0.40", "region", "geometry")),
    ]:
        (fault,) = refused(changed(content, *keys, to=geometry), Api.V3)
        assert says in fault


def test_a_region_without_a_type_is_one() -> None:
    content = without(examples.counting(), *REPORT, "regions", 0, "properties", "annotation_type")
    region = posted(content, Api.V3)["scanResults"][0]["workflow"]["report"]["regions"][0]
    assert region["properties"] == {"annotation_type": "region", "name": "Region A"}


def test_results_are_built_from_arrays_and_shapes_alone() -> None:
    cells = np.array([[10, 20, 0.5]], np.float32)
    report = reports.WholeSlideDifferential(
        points=[reports.ScoredPoint(x=x, y=y, score=score, type="tumor") for x, y, score in cells],
        scores={"positive": float(cells[0, 2])},
        positivity_threshold=0.4,
    )
    tumour = shapely_box(0, 0, 50, 60)
    geojson = reports.FeatureCollection(
        features=[
            *reports.polygon_features([tumour], {"annotation_type": "tumor"}),
            reports.heat_map_feature([(tumour, "#AA0000"), (tumour, "#FF0000")], "confidence"),
        ]
    )
    workflow = reports.Workflow(model_name="M", provider="P", ruo=True, report=report)
    scan = reports.ScanResult(scan_id="7", workflow=workflow, geojson=geojson, qc_fail_reasons=[])
    triage = reports.Triage(category="High", score=0.5)
    posting = prepare(reports.Results(scan_results=[scan], triage=triage), {"7": SlideSize(60, 60)}, Api.V3)
    sent = posting.body["scanResults"][0]
    assert sent["workflow"]["report"]["points"] == [{"x": 10.0, "y": 20.0, "score": 0.5, "type": "tumor"}]
    assert sent["geojson"]["features"][0]["bbox"] == [0, 0, 50, 60]
    assert json.dumps(sent["geojson"]["features"][1]).count("Polygon") == 2
    assert posting.case == {"triage_category": "High", "triage_score": 0.5}


def test_a_record_that_is_wrong_is_refused_when_it_is_built() -> None:
    with pytest.raises(ValueError, match="finite"):
        reports.ScoredPoint(x=math.nan, y=1, score=0, type="tumor")
    with pytest.raises(ValueError, match="less than or equal to 1"):
        reports.Part(label="a", fraction=1.5, area=2)
    with pytest.raises(ValueError, match="color should be #RRGGBB"):
        reports.polygon_features([shapely_box(0, 0, 1, 1)], {"color": "red"})
