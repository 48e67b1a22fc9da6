"""Preflight: what it finds, and that predictions find the same."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from dicom_io.colour.profiles import IccTarget, target_profile
from dicom_io.slides.requirements import REQUIREMENTS
from serving.api.check_schema import check_response
from tests.in_process.test_dicomweb import DOCUMENTED, FAULTY
from tests.support.app import App, ServedApp
from tests.support.asking import ask
from tests.support.checking import agreed, checked, failures, outcomes
from tests.support.service import samples
from tests.support.slides import (
    CODINGS,
    MICROSCOPIC,
    SLIDE_COORDINATES,
    Slide,
    pyramid,
    stained,
)
from tests.support.store import Behaviour, Store
from tests.support.tissue import encode, instance, tissue

GOOD = instance(encode(tissue()[:224, :224]))


@pytest.mark.parametrize("name", CODINGS)
def test_a_slide_in_any_coding_passes_and_no_frame_of_it_is_fetched(probe_app: App, name: str) -> None:
    slide = pyramid(name, [(1000, 700), (500, 350)])
    with Store(slide) as store:
        asked = [ask(store, slide, [level.uid], (0, 0), (200, 100)) for level in slide.instances]
        found = checked(probe_app, *asked)
        assert [check["ok"] for check in found["checks"]] == [True, True]
        assert [check["frames"] for check in found["checks"]] == [4, 4]
        assert not any(failures(level) for level in found["levels"])
        assert store.frame_requests() == []
        agreed(probe_app, *asked)


@pytest.mark.parametrize("sop_class", [MICROSCOPIC, SLIDE_COORDINATES])
def test_single_frame_kinds_pass(probe_app: App, sop_class: str) -> None:
    slide = Slide()
    image = slide.add_single(stained(600, 400), CODINGS["JPEG"], sop_class)
    with Store(slide) as store:
        found = agreed(probe_app, ask(store, slide, [image.uid]), ask(store, slide, [image.uid], (999, 0)))
        assert "not applicable" in outcomes(found["levels"][0], "ImagedVolumeWidth")


@pytest.mark.parametrize("fault", FAULTY)
def test_an_image_that_predictions_refuse_is_refused_with_every_rule_that_it_breaks(
    probe_app: App, fault: str
) -> None:
    changes, code = FAULTY[fault]
    slide = pyramid("explicit", [(500, 350)], **changes)
    with Store(slide) as store:
        found = agreed(probe_app, ask(store, slide, [slide.instances[0].uid]))
        assert found["checks"][0]["error"]["code"] == code
        broken = failures(found["levels"][0])
        assert set(broken) & ({*changes} | {"PyramidUID"})


def test_all_that_is_broken_is_told_at_once_with_what_was_found(probe_app: App) -> None:
    slide = pyramid("explicit", [(500, 350)], BitsAllocated=16, HighBit=None, Modality="OT")
    (level,) = slide.instances
    with Store(slide) as store:
        (report,) = agreed(probe_app, ask(store, slide, [level.uid]))["levels"]
    rows = {row["keyword"]: row for row in report["requirements"] if row["outcome"] in ("fail", "remark")}
    assert rows["BitsAllocated"] == {
        "tag": "(0028,0100)",
        "keyword": "BitsAllocated",
        "rule": "must be 8",
        "grade": "needed",
        "outcome": "fail",
        "found": "16",
        "instance_uid": level.uid,
        "source": "Path Foundation API, DICOM requirements; PS3.3, C.7.6.3",
    }
    assert (rows["HighBit"]["outcome"], rows["HighBit"]["found"]) == ("fail", None)
    assert (rows["Modality"]["outcome"], rows["Modality"]["grade"]) == ("remark", "documented")
    assert set(rows) == {"BitsAllocated", "HighBit", "Modality"}
    assert {row["keyword"] for row in report["requirements"]} >= {rule.keyword for rule in REQUIREMENTS}
    assert "Planted" not in json.dumps(report)


@pytest.fixture(scope="module")
def strict_service() -> Iterator[App]:
    environment: dict[str, object] = {"PATHSERVE_DICOM_VALIDATION": "strict"}
    with App(environment) as service:
        yield service


@pytest.mark.parametrize("fault", DOCUMENTED)
def test_what_is_only_documented_is_a_remark_and_fails_when_strict(
    probe_app: App, strict_service: App, fault: str
) -> None:
    slide = pyramid("explicit", [(500, 350)], **DOCUMENTED[fault])
    with Store(slide) as store:
        asked = ask(store, slide, [slide.instances[0].uid])
        (report,) = agreed(probe_app, asked)["levels"]
        assert "remark" in {row["outcome"] for row in report["requirements"]}
        (report,) = agreed(strict_service, asked)["levels"]
        assert failures(report)


VALUES: dict[str, list[Any]] = {
    "SOPClassUID": ["1.2.3", MICROSCOPIC, SLIDE_COORDINATES],
    "ImageType": [None, ["DERIVED"], ["DERIVED", "PRIMARY", "LABEL"], ["D", "P", "THUMBNAIL", "RESAMPLED"]],
    "Rows": [None, 0],
    "Columns": [None, 0],
    "TotalPixelMatrixColumns": [None, 0, 600],
    "TotalPixelMatrixRows": [None, 0, 224],
    "ImagedVolumeWidth": [None, 0.0],
    "ImagedVolumeHeight": [None, 0.0],
    "NumberOfFrames": [None, 0, 1, 3, 9],
    "SamplesPerPixel": [None, 2, 4],
    "PhotometricInterpretation": [None, "HSV", "PALETTE COLOR", "MONOCHROME2"],
    "BitsAllocated": [None, 16],
    "BitsStored": [None, 7],
    "HighBit": [None, 15],
    "PixelRepresentation": [None, 1],
    "PlanarConfiguration": [2],
    "DimensionOrganizationType": [None, "TILED_SPARSE"],
    "TotalPixelMatrixFocalPlanes": [None, 2],
    "NumberOfOpticalPaths": [None, 2],
    "Modality": [None, "CT"],
    "OpticalPathSequence": [None],
    "SharedFunctionalGroupsSequence": [None],
    "FrameOfReferenceUID": [None, "1.2.3.99"],
    "PyramidUID": ["1.2.3.98"],
    "ICCProfile": [b"no profile", target_profile(IccTarget.ADOBERGB), target_profile(IccTarget.DISPLAYP3)],
}
"""What breaks a rule, or only changes how it is met; frames are as they are described all the same."""


@st.composite
def changes(draw: st.DrawFn) -> dict[str, Any]:
    keywords = draw(st.lists(st.sampled_from(sorted(VALUES)), max_size=3, unique=True))
    return {keyword: draw(st.sampled_from(VALUES[keyword])) for keyword in keywords}


@st.composite
def slides(draw: st.DrawFn) -> Slide:
    slide = Slide()
    slide.add_level(stained(500, 350), CODINGS["explicit"], parts=draw(st.integers(1, 3)))
    slide.add_level(stained(250, 230), CODINGS["explicit"])
    if draw(st.booleans()):
        slide.instances.pop(draw(st.integers(0, len(slide.instances) - 1)))
    for stored in slide.instances:
        for keyword, value in draw(changes() if draw(st.booleans()) else st.just({})).items():
            holder = stored.dataset
            if keyword == "ICCProfile" and "OpticalPathSequence" in holder:
                holder = holder.OpticalPathSequence[0]
            if value is not None:
                setattr(holder, keyword, value)
            elif keyword in holder:
                delattr(holder, keyword)
    return slide


@st.composite
def extensions(draw: st.DrawFn) -> dict[str, Any]:
    size = draw(st.sampled_from([None, (500, 350), (250, 230), (62, 44), (63, 44), (1000, 700)]))
    return {
        **({} if size is None else {"image_dimensions": {"width_px": size[0], "height_px": size[1]}}),
        "transform_imaging_to_icc_profile": draw(st.sampled_from(["NONE", "NONE", "SRGB"])),
        "require_patches_fully_in_source_image": draw(st.booleans()),
    }


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    slide=slides(),
    named=st.lists(st.integers(0, 5), min_size=1, max_size=2),
    origins=st.lists(st.tuples(st.integers(-10, 300), st.integers(-10, 150)), min_size=1, max_size=3),
    asked=extensions(),
)
def test_what_predictions_accept_passes_and_what_passes_they_accept(
    probe_app: App,
    open_store: Store,
    slide: Slide,
    named: list[int],
    origins: list[tuple[int, int]],
    asked: dict[str, Any],
) -> None:
    uids = [slide.instances[i].uid if i < len(slide.instances) else "1.2.3.4.5" for i in named]
    open_store.slides = [slide]
    open_store.requests.clear()
    found = agreed(probe_app, ask(open_store, slide, uids, *origins, **asked))
    if "ok" not in found["checks"][0]:
        assert open_store.frame_requests() == []


@pytest.fixture(scope="module")
def open_store() -> Iterator[Store]:
    with Store() as store:
        yield store


def test_rules_about_several_instances_are_told(probe_app: App) -> None:
    mixed = pyramid("explicit", [(500, 350)])
    mixed.add_single(stained(300, 300), CODINGS["explicit"], MICROSCOPIC)
    named = pyramid("explicit", [(500, 350)], PyramidUID="1.2.3.1")
    named.add_level(stained(250, 230), CODINGS["explicit"], PyramidUID="1.2.3.2")
    parts = Slide()
    whole = parts.add_level(stained(1000, 700), CODINGS["explicit"], parts=3, ConcatenationUID="1.2.3.4")
    lost = Slide(parts.study, "1.2.3.55", whole[::2])
    with Store(mixed, named, lost) as store:
        found = agreed(
            probe_app,
            ask(store, mixed, [mixed.instances[0].uid]),
            ask(store, named, [named.instances[1].uid]),
            ask(store, lost, [whole[0].uid]),
            ask(store, mixed, [mixed.instances[0].uid, mixed.instances[1].uid]),
        )
    broken = [failures(found["levels"][check["level"]]) for check in found["checks"]]
    assert broken[:2] == [["SOPClassUID"], ["PyramidUID"]]
    assert broken[2] == ["ConcatenationFrameOffsetNumber", "NumberOfFrames"]
    assert "ConcatenationUID" in broken[3]


def test_profiles_that_differ_or_are_broken_fail_only_a_transform(probe_app: App) -> None:
    slide = pyramid("explicit", [(500, 350)], ICCProfile=target_profile(IccTarget.ADOBERGB))
    slide.add_level(stained(250, 230), CODINGS["explicit"], ICCProfile=target_profile(IccTarget.DISPLAYP3))
    broken = pyramid("explicit", [(500, 350)], ICCProfile=b"no profile")
    with Store(slide, broken) as store:
        for which in (slide, broken):
            uid = [which.instances[0].uid]
            found = agreed(
                probe_app,
                ask(store, which, uid, transform_imaging_to_icc_profile="SRGB"),
                ask(store, which, uid),
            )
            assert [outcomes(level, "ICCProfile") for level in found["levels"]] == [
                ["fail"],
                ["not applicable"],
            ]


def test_faults_of_the_store_are_the_same(probe_app: App) -> None:
    slide = pyramid("explicit", [(500, 350)])
    uid = [slide.instances[0].uid]
    with Store(slide, behaviour=Behaviour(tokens={"good-token"})) as store:
        gone = store.series_path(slide).replace(slide.series, "1.2.3")
        found = agreed(
            probe_app,
            ask(store, slide, uid),
            ask(store, slide, uid, token="wrong-token"),
            ask(store, slide, uid, token="good-token"),
            ask(store, slide, uid, token="good-token", path=gone),
            ask(store, slide, uid, path="gs://bucket/x"),
            ask(store, slide, ["1.2"], token="good-token"),
        )
        for token in ("good-token", "wrong-token"):
            assert token not in json.dumps(found)
    assert [check.get("error", {}).get("code") for check in found["checks"]] == [
        "INVALID_CREDENTIALS_ERROR",
        "INVALID_CREDENTIALS_ERROR",
        None,
        "DICOM_PATH_ERROR",
        "DICOM_PATH_ERROR",
        "LEVEL_NOT_FOUND_ERROR",
    ]


def test_a_store_that_is_not_there_is_the_same_fault(probe_app: App) -> None:
    slide = pyramid("explicit", [(500, 350)])
    with Store(slide) as store:
        asked = ask(store, slide, [slide.instances[0].uid])
    found = agreed(probe_app, asked)
    assert found["checks"][0]["error"]["code"] == "HTTP_ERROR"
    assert found["levels"] == []


def test_a_store_that_is_not_approved_is_not_asked() -> None:
    slide = pyramid("explicit", [(500, 350)])
    approved: dict[str, object] = {"APPROVED_DICOM_STORE_SOURCE_LIST": '["https://example.org/dicomWeb"]'}
    with Store(slide) as store, App(approved) as app:
        found = agreed(app, ask(store, slide, [slide.instances[0].uid]))
        assert found["checks"][0]["error"]["code"] == "UNAPPROVED_DICOM_STORE_ERROR"
        assert store.requests == []


def test_the_budget_of_frames_is_counted_over_the_request_as_predictions_count_it() -> None:
    environment: dict[str, object] = {"PATHSERVE_MAX_PATCHES_PER_REQUEST": "20"}
    slide = pyramid("explicit", [(1900, 1800)])
    uid = [slide.instances[0].uid]
    size = {"width_px": 475, "height_px": 450}
    with App(environment) as app, Store(slide) as store:
        small = ask(store, slide, uid, (0, 0), image_dimensions=size)
        found = agreed(app, ask(store, slide, uid), small, small, ask(store, slide, uid))
        assert [check.get("error", {}).get("code") for check in found["checks"]] == [
            None,
            None,
            "TOO_MANY_PATCHES_ERROR",
            None,
        ]


def test_a_frame_in_a_syntax_that_is_not_decoded_is_remarked_on(probe_app: App) -> None:
    slide = pyramid("explicit", [(500, 350)])
    slide.instances[0].syntax = "1.2.840.10008.1.2.4.100"
    with Store(slide) as store:
        found = checked(probe_app, ask(store, slide, [slide.instances[0].uid]))
    assert found["checks"][0]["ok"]
    assert "remark" in outcomes(found["levels"][0], "AvailableTransferSyntaxUID")


def test_a_level_that_many_instances_name_is_reported_once(probe_app: App) -> None:
    slide = pyramid("explicit", [(1000, 700), (500, 350)])
    first, second = slide.instances
    with Store(slide) as store:
        asked = [ask(store, slide, [level.uid], (x, 0)) for x in range(30) for level in (first, second)]
        found = checked(probe_app, *asked)
        assert len([r for r in store.requests if r.path.endswith("/metadata")]) == 1
    assert [level["instance_uids"] for level in found["levels"]] == [[first.uid], [second.uid]]
    assert [check["level"] for check in found["checks"]] == [0, 1] * 30


def test_bytes_are_exact_or_estimated_or_said_to_be_unknown_and_so_are_seconds() -> None:
    native, jpeg = pyramid("explicit", [(1000, 700)]), pyramid("JPEG", [(1000, 700)])
    picture = instance(encode(tissue()), (0, 0), (5, 5))
    with App() as app, Store(native, jpeg) as store:
        asked = [ask(store, slide, [slide.instances[0].uid], (0, 0), (300, 0)) for slide in (native, jpeg)]
        before = checked(app, *asked, picture)
        assert [check["bytes"] for check in before["checks"]] == [3 * 256 * 256 * 3, None, 0]
        assert [check["frames"] for check in before["checks"]] == [3, 3, None]
        assert [check["seconds"] for check in before["checks"]] == [None] * 3
        assert before["total"]["bytes"] is None
        assert before["total"]["seconds"] is None
        assert before["total"]["patches"] == 6
        app.predict(*asked)
        after = checked(app, *asked, picture)
        sent = sum(map(len, jpeg.instances[0].frames[:3]))
        assert after["checks"][1]["bytes"] == pytest.approx(sent, rel=0.01)
        assert after["total"]["bytes"] == pytest.approx(3 * 256 * 256 * 3 + sent, rel=0.01)
        assert all(check["seconds"] > 0 for check in after["checks"])
        assert "this kind" in after["checks"][0]["seconds_basis"]
        assert "other kinds" in after["checks"][2]["seconds_basis"]


def test_pictures_are_judged_by_their_header_and_not_decoded(probe_app: App) -> None:
    png = encode(tissue())
    middle = len(png) // 2
    damaged = png[:middle] + bytes(200) + png[middle + 200 :]
    found = agreed(
        probe_app,
        instance(png),
        instance(png, (400, 400)),
        instance(b"no image"),
        instance("@@"),
        {**GOOD, "extensions": {"image_dimensions": {"width_px": 10_001, "height_px": 300}}},
        {**GOOD, "extensions": {"transform_imaging_to_icc_profile": "CIELAB"}},
        {**GOOD, "patch_coordinates": [{"x_origin": 0, "y_origin": 0, "width": 10, "height": 10}]},
        5,
    )
    assert [check.get("error", {}).get("code") for check in found["checks"]] == [
        None,
        "PATCH_OUTSIDE_OF_IMAGE_DIMENSIONS_ERROR",
        "IMAGE_ERROR",
        "INVALID_REQUEST_FIELD_ERROR",
        "IMAGE_DIMENSION_ERROR",
        "INVALID_ICC_PROFILE_TRANSFORM_ERROR",
        "INCOMPATIBLE_PATCH_DIMENSIONS_ERROR",
        "INVALID_REQUEST_FIELD_ERROR",
    ]
    assert checked(probe_app, instance(damaged))["checks"][0]["ok"]
    (prediction,) = probe_app.predict(instance(damaged)).json()["predictions"]
    assert prediction["error"]["code"] == "IMAGE_ERROR"  # which only its pixels can tell


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"{}", {"instances": []}, {"instances": [GOOD], "parameters": {"encoding": "x"}}]
)
def test_a_request_that_fails_whole_is_answered_as_a_prediction(probe_app: App, body: object) -> None:
    check, predict = (probe_app.post(route, body) for route in ("/check", "/predict"))
    assert (check.status_code, check.json()) == (predict.status_code, predict.json())
    assert check.status_code == 400


def test_too_many_patches_fail_the_request_as_they_fail_a_prediction() -> None:
    with App({"PATHSERVE_MAX_PATCHES_PER_REQUEST": "2"}) as app:
        body = {"instances": [instance(encode(tissue()), (0, 0), (1, 1), (2, 2))]}
        check, predict = (app.post(route, body) for route in ("/check", "/predict"))
        assert (check.status_code, check.json()) == (predict.status_code, predict.json())
        assert check.json()["error"]["code"] == "TOO_MANY_PATCHES_ERROR"


def test_a_check_needs_a_key_where_predictions_do() -> None:
    with App({"PATHSERVE_API_KEYS": "a-key-of-this-service"}) as app:
        assert app.post("/check", {"instances": [GOOD]}).status_code == 401
        answer = app.post(
            "/check", {"instances": [GOOD]}, headers={"Authorization": "Bearer a-key-of-this-service"}
        )
        assert answer.json()["checks"][0]["ok"]


def test_a_check_is_logged_as_such_and_counted_as_no_prediction() -> None:
    with App() as app:
        answer = app.post("/check", {"instances": [GOOD, 5]}, headers={"X-Request-Id": "mine"})
        assert answer.headers["X-Request-Id"] == "mine"
        (line,) = [line for line in app.log_lines() if line["message"] == "check"]
        assert (line["request_id"], line["instances"], line["instances_failed"]) == ("mine", 2, 1)
        assert not samples(app.get("/metrics").text).get("pathserve_patches_total")
        assert not [line for line in app.log_lines() if line["message"] == "predict"]


def test_a_slow_store_does_not_outlast_a_check() -> None:
    slide = pyramid("explicit", [(500, 350)])
    with Store(slide) as store, App({"PATHSERVE_REQUEST_TIMEOUT_S": "0.3"}) as app:
        wait = threading.Event()
        store.behaviour.override = lambda _: (503, {}, b"") if wait.wait(30) else None
        answer = app.post("/check", {"instances": [ask(store, slide, [slide.instances[0].uid])]})
        wait.set()
        assert answer.status_code in (200, 503)
        text = answer.text
        assert "HTTP_ERROR" in text or "SERVICE_UNAVAILABLE_ERROR" in text


def test_the_magnification_guard_says_of_a_check_what_it_says_of_a_prediction() -> None:
    slide = pyramid("explicit", [(500, 350)])  # of 20 µm a pixel
    uid = [slide.instances[0].uid]
    with App({"PATHSERVE_MAGNIFICATION_GUARD": "refuse"}) as app, Store(slide) as store:
        stated = {"x": 0.5, "y": 0.5}
        found = agreed(app, ask(store, slide, uid), ask(store, slide, uid, source_um_per_px=stated), GOOD)
        assert found["checks"][0]["error"]["code"] == "MAGNIFICATION_ERROR"
        assert [check.get("magnification", {}).get("verdict") for check in found["checks"]] == [
            None,
            "inside",
            "unknown",
        ]
        assert found["checks"][1]["read"]["um_per_px"] == [0.5, 0.5]


def test_patches_may_have_faults_of_their_own_as_in_a_prediction(probe_app: App) -> None:
    slide = pyramid("JPEG", [(1000, 700)])
    with Store(slide) as store:
        some = ask(store, slide, [slide.instances[0].uid], (0, 0), (900, 0))
        none = ask(store, slide, [slide.instances[0].uid], (900, 0))
        for one in (some, none):
            one["extensions"] = {"per_patch_errors": True}
        found = checked(probe_app, some, none, GOOD)
        told = probe_app.predict(some, none, GOOD).json()["predictions"]
    Draft202012Validator(check_response()).validate(found)
    assert [check["patches"] for check in found["checks"]] == [1, 0, 1]
    assert found["total"]["instances_ok"] == 3
    for check, prediction in zip(found["checks"], told, strict=True):
        rows = prediction["result"]["patch_embeddings"]
        assert check.get("patch_errors", []) == [
            {"patch": index, **row["error"]} for index, row in enumerate(rows) if "error" in row
        ]
    assert len(found["checks"][0]["patch_errors"]) == len(found["checks"][1]["patch_errors"]) == 1


def test_an_answer_is_as_its_schema_says(probe_app: App) -> None:
    slide, bad = pyramid("JPEG", [(500, 350)]), pyramid("JPEG", [(500, 350)], HighBit=None)
    with Store(slide, bad) as store:
        asked = [ask(store, one, [one.instances[0].uid]) for one in (slide, bad)]
        Draft202012Validator(check_response()).validate(checked(probe_app, *asked, GOOD, 5))
        probe_app.predict(*asked)
        Draft202012Validator(check_response()).validate(checked(probe_app, *asked, GOOD, 5))


def test_what_a_store_calls_its_instances_is_told_printable_and_short(probe_app: App) -> None:
    slide = pyramid("explicit", [(500, 350)], HighBit=15)
    (level,) = slide.instances
    with Store(slide) as store:
        document = store.metadata(level, slide)
        more = copy.deepcopy(document)
        more["00080018"]["Value"] = ["1.2.3\x1b[2J\ud800" + "9" * 5000]
        for one in (document, more):
            one["00209161"] = {"vr": "UI", "Value": ["1.2.3.4"]}
        body = json.dumps([more, document]).encode()
        store.behaviour.override = lambda request: (
            (200, {"Content-Type": "application/dicom+json"}, body)
            if request.path.endswith("/metadata")
            else None
        )
        found = agreed(probe_app, ask(store, slide, [level.uid]))
    assert "HighBit" in failures(found["levels"][0])
    assert len(json.dumps(found)) < 20_000
    assert "\\u001b" not in json.dumps(found)


def test_a_check_answers_over_http(served_app: ServedApp) -> None:
    slide = pyramid("JPEG", [(500, 350)])
    with Store(slide) as store:
        body = {"instances": [GOOD, ask(store, slide, [slide.instances[0].uid])]}
        answer = served_app.session.post(f"{served_app.url}/check", json=body, timeout=60)
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-store"
        assert [check["ok"] for check in answer.json()["checks"]] == [True, True]
        assert store.frame_requests() == []
    assert served_app.session.get(f"{served_app.url}/check", timeout=60).status_code == 405
