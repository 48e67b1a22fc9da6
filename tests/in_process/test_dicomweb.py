"""DICOMweb series: every syntax and kind of image, every fault, every code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dicom_io.colour.profiles import IccTarget, target_profile
from dicom_io.colour.transforms import IccTransform
from dicom_io.resampling import resize
from tests.support.app import App
from tests.support.asking import CORNERS, ask, assert_pixels, code_of, cut, error, predictions
from tests.support.models import TOLERANCE, probe
from tests.support.slides import (
    CODINGS,
    MICROSCOPIC,
    SLIDE_COORDINATES,
    Slide,
    StoredInstance,
    pyramid,
    stained,
)
from tests.support.store import Answer, Behaviour, Request, Store
from tests.support.tissue import encode, instance, tissue


@pytest.mark.parametrize("name", CODINGS)
def test_every_syntax_and_photometric_interpretation_gives_right_pixels(probe_app: App, name: str) -> None:
    slide = pyramid(name, [(1000, 700)])
    (level,) = slide.instances
    with Store(slide) as store:
        asked = ask(store, slide, [level.uid], *CORNERS)
        assert_pixels(probe_app, asked, cut(level.truth, *CORNERS), CODINGS[name].tolerance)


@pytest.mark.parametrize("name", ["explicit", "JPEG", "JPEG 2000 lossless", "JPEG XL lossless", "JPEG-LS"])
def test_a_store_that_names_no_syntax_is_understood_by_the_bytes(probe_app: App, name: str) -> None:
    slide = pyramid(name, [(500, 350)])
    (level,) = slide.instances
    with Store(slide, behaviour=Behaviour(says_syntax=False)) as store:
        asked = ask(store, slide, [level.uid], (10, 100))
        assert_pixels(probe_app, asked, cut(level.truth, (10, 100)), CODINGS[name].tolerance)


def test_the_instance_picks_the_level(probe_app: App) -> None:
    slide = pyramid("explicit", [(1000, 700), (500, 350), (250, 230)])
    with Store(slide) as store:
        for level in slide.instances:
            assert_pixels(probe_app, ask(store, slide, [level.uid], (20, 5)), cut(level.truth, (20, 5)))


@pytest.mark.parametrize("sop_class", [MICROSCOPIC, SLIDE_COORDINATES])
@pytest.mark.parametrize("name", ["explicit", "JPEG", "native inverted gray"])
def test_single_frame_kinds_take_their_size_from_rows_and_columns(
    probe_app: App, sop_class: str, name: str
) -> None:
    slide = Slide()
    image = slide.add_single(stained(600, 400), CODINGS[name], sop_class)
    with Store(slide) as store:
        asked = ask(store, slide, [image.uid], (376, 176), (0, 1))
        assert_pixels(probe_app, asked, cut(image.truth, (376, 176), (0, 1)), CODINGS[name].tolerance)
        assert code_of(probe_app, ask(store, slide, [image.uid], (377, 0))) == (
            "PATCH_OUTSIDE_OF_IMAGE_DIMENSIONS_ERROR"
        )


@pytest.mark.parametrize("named", [[0], [1], [2], [0, 1, 2], [2, 0]])
def test_naming_any_part_of_a_concatenation_reads_the_whole_level(probe_app: App, named: list[int]) -> None:
    slide = Slide()
    parts = slide.add_level(stained(1000, 700), CODINGS["explicit"], parts=3)
    for part in parts:
        part.dataset.ConcatenationUID = "1.2.3.4"
    with Store(slide) as store:
        asked = ask(store, slide, [parts[i].uid for i in named], *CORNERS)
        assert_pixels(probe_app, asked, cut(parts[0].truth, *CORNERS))


def test_the_image_ends_at_its_matrix_not_at_its_tiles(probe_app: App) -> None:
    slide = pyramid("explicit", [(1000, 700)])
    (level,) = slide.instances
    with Store(slide) as store:
        beyond = ask(store, slide, [level.uid], (777, 476))
        assert code_of(probe_app, beyond) == "PATCH_OUTSIDE_OF_IMAGE_DIMENSIONS_ERROR"
        origins = ((777, 476), (-100, -100), (990, 690), (2000, 2000))
        asked = ask(store, slide, [level.uid], *origins, require_patches_fully_in_source_image=False)
        assert_pixels(probe_app, asked, [*cut(level.truth, *origins[:3]), np.zeros((224, 224, 3), np.uint8)])


@pytest.mark.parametrize("size", [(500, 350), (250, 234), (2000, 1400), (1500, 1100), (1000, 1050)])
def test_a_level_is_resized_as_a_whole(probe_app: App, size: tuple[int, int]) -> None:
    width, height = size
    slide = pyramid("explicit", [(1000, 700)])
    (level,) = slide.instances
    origins = ((0, 0), (width - 224, height - 224), (13, 7))
    with Store(slide) as store:
        asked = ask(
            store, slide, [level.uid], *origins, image_dimensions={"width_px": width, "height_px": height}
        )
        exact = (1000 % width == 0 and 700 % height == 0) or (width >= 1000 and height >= 700)
        # Shrunk patches begin at whole source pixels: where sizes do not divide, up to half a pixel off.
        assert_pixels(probe_app, asked, cut(resize(level.truth, width, height), *origins), 1 if exact else 12)


def test_more_than_eight_times_smaller_is_refused(probe_app: App) -> None:
    slide = pyramid("explicit", [(2000, 1900)])
    with Store(slide) as store:
        for width, height, code in ((249, 237, "DICOM_IMAGE_DOWNSAMPLING_TOO_LARGE_ERROR"), (250, 238, None)):
            size = {"width_px": width, "height_px": height}
            (found,) = predictions(
                probe_app, ask(store, slide, [slide.instances[0].uid], image_dimensions=size)
            )
            assert found.get("error", {}).get("code") == code


def test_reads_of_resized_levels_count_against_the_budget() -> None:
    environment: dict[str, object] = {"PATHSERVE_MAX_PATCHES_PER_REQUEST": "20"}
    slide = pyramid("explicit", [(1900, 1800)])
    uid = [slide.instances[0].uid]
    size = {"width_px": 475, "height_px": 450}
    with App(environment) as service, Store(slide) as store:
        one = ask(store, slide, uid, (0, 0), image_dimensions=size)
        plain = ask(store, slide, uid, (0, 0))
        found = predictions(service, plain, one, one, plain)
        assert [p.get("error", {}).get("code") for p in found] == [None, None, "TOO_MANY_PATCHES_ERROR", None]


@pytest.mark.parametrize("bulk", [True, False])
@pytest.mark.parametrize("target", ["SRGB", "adobergb", "ROMMRGB", "DISPLAYP3"])
def test_the_slides_profile_drives_the_transform(probe_app: App, bulk: bool, target: str) -> None:
    profile = target_profile(IccTarget.DISPLAYP3 if target != "DISPLAYP3" else IccTarget.ADOBERGB)
    slide = pyramid("explicit", [(500, 350), (250, 230)], ICCProfile=profile)
    level = slide.instances[0]
    expected = IccTransform(profile, IccTarget(target.upper()), 3)
    with Store(slide, behaviour=Behaviour(bulk_icc=bulk)) as store:
        (pixels,) = cut(level.truth, (100, 60))
        asked = ask(store, slide, [level.uid], (100, 60), transform_imaging_to_icc_profile=target)
        assert_pixels(probe_app, asked, [expected(np.ascontiguousarray(pixels))])
        asked = ask(store, slide, [level.uid], (100, 60), transform_imaging_to_icc_profile="NONE")
        assert_pixels(probe_app, asked, [pixels])


def test_a_single_images_profile_is_at_its_root(probe_app: App) -> None:
    profile = target_profile(IccTarget.ADOBERGB)
    slide = Slide()
    image = slide.add_single(stained(300, 300), CODINGS["explicit"], MICROSCOPIC, ICCProfile=profile)
    with Store(slide) as store:
        asked = ask(store, slide, [image.uid], (9, 9), transform_imaging_to_icc_profile="SRGB")
        (pixels,) = cut(image.truth, (9, 9))
        expected = IccTransform(profile, IccTarget.SRGB, 3)(np.ascontiguousarray(pixels))
        assert_pixels(probe_app, asked, [expected])


def test_without_a_profile_nothing_is_transformed(probe_app: App) -> None:
    slide = pyramid("explicit", [(500, 350)])
    level = slide.instances[0]
    with Store(slide) as store:
        asked = ask(store, slide, [level.uid], (1, 2), transform_imaging_to_icc_profile="SRGB")
        assert_pixels(probe_app, asked, cut(level.truth, (1, 2)))


def test_profiles_that_differ_or_are_broken_fail_only_a_transform(probe_app: App) -> None:
    slide = pyramid("explicit", [(500, 350)], ICCProfile=target_profile(IccTarget.ADOBERGB))
    slide.add_level(stained(250, 230), CODINGS["explicit"], ICCProfile=target_profile(IccTarget.DISPLAYP3))
    broken = pyramid("explicit", [(500, 350)], ICCProfile=b"no profile")
    with Store(slide, broken) as store:
        for which, code in ((slide, "DICOM_ERROR"), (broken, "INVALID_ICC_PROFILE_TRANSFORM_ERROR")):
            level = which.instances[0]
            asked = ask(store, which, [level.uid], transform_imaging_to_icc_profile="SRGB")
            assert code_of(probe_app, asked) == code
            assert_pixels(probe_app, ask(store, which, [level.uid]), cut(level.truth, (0, 0)))


def of_level(**changes: Any) -> Slide:
    return pyramid("explicit", [(500, 350)], **changes)


FAULTY: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown SOP class": ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, "DICOM_ERROR"),
    "no ImageType": ({"ImageType": None}, "DICOM_ERROR"),
    "an ImageType that does not say which image it is": ({"ImageType": ["DERIVED"]}, "DICOM_ERROR"),
    "a label": ({"ImageType": ["ORIGINAL", "PRIMARY", "LABEL", "NONE"]}, "LEVEL_NOT_FOUND_ERROR"),
    "an overview": ({"ImageType": ["ORIGINAL", "PRIMARY", "OVERVIEW", "NONE"]}, "LEVEL_NOT_FOUND_ERROR"),
    "a thumbnail": ({"ImageType": ["ORIGINAL", "PRIMARY", "THUMBNAIL", "NONE"]}, "LEVEL_NOT_FOUND_ERROR"),
    "no Rows": ({"Rows": None}, "DICOM_ERROR"),
    "no Columns": ({"Columns": 0}, "DICOM_ERROR"),
    "no matrix": ({"TotalPixelMatrixColumns": None}, "DICOM_ERROR"),
    "an empty matrix": ({"TotalPixelMatrixRows": 0}, "DICOM_ERROR"),
    "two samples": ({"SamplesPerPixel": 2}, "DICOM_ERROR"),
    "sixteen bits": ({"BitsAllocated": 16}, "DICOM_ERROR"),
    "a high bit": ({"HighBit": 11}, "DICOM_ERROR"),
    "no width": ({"ImagedVolumeWidth": None}, "DICOM_ERROR"),
    "no height": ({"ImagedVolumeHeight": 0.0}, "DICOM_ERROR"),
    "two focal planes": ({"TotalPixelMatrixFocalPlanes": 2}, "DICOM_ERROR"),
    "two optical paths": ({"NumberOfOpticalPaths": 2}, "DICOM_ERROR"),
    "a palette": ({"PhotometricInterpretation": "PALETTE COLOR", "SamplesPerPixel": 1}, "DICOM_ERROR"),
    "an unknown photometric interpretation": ({"PhotometricInterpretation": "HSV"}, "DICOM_ERROR"),
    "gray with three samples": ({"PhotometricInterpretation": "MONOCHROME2"}, "DICOM_ERROR"),
    "sparse tiles": ({"DimensionOrganizationType": "TILED_SPARSE"}, "DICOM_TILED_FULL_ERROR"),
    "no organization": ({"DimensionOrganizationType": None}, "DICOM_TILED_FULL_ERROR"),
    "too few frames": ({"NumberOfFrames": 3}, "DICOM_ERROR"),
    "signed pixels": ({"PixelRepresentation": 1}, "DICOM_ERROR"),
}


@pytest.mark.parametrize("fault", FAULTY)
def test_an_image_that_breaks_a_needed_requirement_is_refused(probe_app: App, fault: str) -> None:
    changes, code = FAULTY[fault]
    slide = of_level(**changes)
    with Store(slide) as store:
        found = error(probe_app, ask(store, slide, [slide.instances[0].uid]))
        assert found["code"] == code
        if code == "DICOM_ERROR" and fault != "too few frames":
            assert slide.instances[0].uid in found["description"]


def test_a_palette_is_refused_by_name(probe_app: App) -> None:
    slide = of_level(PhotometricInterpretation="PALETTE COLOR", SamplesPerPixel=1)
    with Store(slide) as store:
        assert "PALETTE COLOR" in error(probe_app, ask(store, slide, [slide.instances[0].uid]))["description"]


def test_a_thumbnail_that_was_resampled_from_the_volume_is_a_level(probe_app: App) -> None:
    slide = of_level(ImageType=["DERIVED", "PRIMARY", "THUMBNAIL", "RESAMPLED"])
    (level,) = slide.instances
    with Store(slide) as store:
        assert_pixels(probe_app, ask(store, slide, [level.uid]), cut(level.truth, (0, 0)))


DOCUMENTED: dict[str, dict[str, Any]] = {
    "another modality": {"Modality": "OT"},
    "no optical path": {"OpticalPathSequence": None},
    "no pixel spacing": {"SharedFunctionalGroupsSequence": None},
    "seven bits stored": {"BitsStored": 7},
}


@pytest.fixture(scope="module")
def strict_service() -> Iterator[App]:
    environment: dict[str, object] = {"PATHSERVE_DICOM_VALIDATION": "strict"}
    with App(environment) as service:
        yield service


@pytest.mark.parametrize("fault", DOCUMENTED)
def test_a_documented_requirement_refuses_only_when_strict(
    probe_app: App, strict_service: App, fault: str
) -> None:
    slide = of_level(**DOCUMENTED[fault])
    (level,) = slide.instances
    with Store(slide) as store:
        asked = ask(store, slide, [level.uid])
        assert_pixels(probe_app, asked, cut(level.truth, (0, 0)))
        assert code_of(strict_service, asked) == "DICOM_ERROR"
    assert any("DICOM requirements not met" in line["message"] for line in probe_app.log_lines())


def test_a_right_slide_passes_when_strict(strict_service: App) -> None:
    slide = of_level()
    (level,) = slide.instances
    with Store(slide) as store:
        assert_pixels(strict_service, ask(store, slide, [level.uid]), cut(level.truth, (0, 0)))


def test_a_series_must_hold_one_pyramid_of_one_kind(probe_app: App) -> None:
    mixed = of_level()
    mixed.add_single(stained(300, 300), CODINGS["explicit"], MICROSCOPIC)
    twice = of_level()
    twice.add_level(stained(250, 230), CODINGS["explicit"], FrameOfReferenceUID="1.2.3.99")
    named = of_level(PyramidUID="1.2.3.1")
    named.add_level(stained(250, 230), CODINGS["explicit"], PyramidUID="1.2.3.2")
    with Store(mixed, twice, named) as store:
        for slide in (mixed, twice, named):
            assert code_of(probe_app, ask(store, slide, [slide.instances[0].uid])) == "DICOM_ERROR"


def test_labels_and_other_objects_beside_the_pyramid_do_no_harm(probe_app: App) -> None:
    slide = of_level()
    level = slide.instances[0]
    slide.add_level(
        stained(250, 230), CODINGS["explicit"], ImageType=["ORIGINAL", "PRIMARY", "LABEL"], Rows=None
    )
    slide.add_level(stained(250, 230), CODINGS["explicit"], SOPClassUID="1.2.840.10008.5.1.4.1.1.104.1")
    with Store(slide) as store:
        assert_pixels(probe_app, ask(store, slide, [level.uid]), cut(level.truth, (0, 0)))


def test_levels_and_concatenations_must_be_named_rightly(probe_app: App) -> None:
    slide = pyramid("explicit", [(1000, 700), (500, 350)])
    parts = Slide()
    concatenated = parts.add_level(
        stained(1000, 700), CODINGS["explicit"], parts=3, ConcatenationUID="1.2.3.4"
    )
    lost = Slide(parts.study, "1.2.3.55", concatenated[::2])
    with Store(slide, parts, lost) as store:
        first, second = slide.instances
        not_one = ask(store, slide, [first.uid, second.uid])
        assert code_of(probe_app, not_one) == "INSTANCES_NOT_CONCATENATED_ERROR"
        unknown = ask(store, slide, ["1.2.3.4.5"])
        assert code_of(probe_app, unknown) == "LEVEL_NOT_FOUND_ERROR"
        assert code_of(probe_app, ask(store, lost, [concatenated[0].uid])) == "DICOM_ERROR"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "gs://bucket/x",
        "ftp://127.0.0.1/studies/1.2/series/3.4",
        "{origin}/studies/1.2",
        "{origin}/studies/1.2/series/",
        "{origin}/studies/abc/series/3.4",
        "{origin}/studies/1.2/series/3.4/instances/5.6",
        "{origin}/studies/1.2/series/3.4?x=1",
        "{origin}/studies/1.2/series/3.4#x",
        "{origin}/a/../studies/1.2/series/3.4",
        "{origin}/a%2fb/studies/1.2/series/3.4",
        "{origin}//studies/1.2/series/3.4",
        "{origin}/studies/1.2/series/" + "1" * 65,
        "http://user@127.0.0.1/studies/1.2/series/3.4",
        "http://example.org/studies/1.2/series/3.4",
        "{origin}/v1/projects/p/dicomWeb/studies/1.2.3/series/4.5.6",
    ],
)
def test_a_path_that_names_no_series_is_a_path_error(probe_app: App, path: str) -> None:
    slide = of_level()
    with Store(slide) as store:
        asked = ask(store, slide, ["1.2"], path=path.replace("{origin}", store.origin) or "x")
        assert code_of(probe_app, asked) == "DICOM_PATH_ERROR"


@pytest.mark.parametrize("uids", [["../metadata"], ["1.2/frames/1"], ["1..2"], ["1.2", "abc"], ["1" * 65]])
def test_uids_are_checked_before_they_reach_a_url(probe_app: App, uids: list[str]) -> None:
    slide = of_level()
    with Store(slide) as store:
        assert code_of(probe_app, ask(store, slide, uids)) == "DICOM_PATH_ERROR"
        assert store.requests == []


@pytest.mark.parametrize(
    "changes",
    [
        {"dicom_path": 5},
        {"dicom_path": {}},
        {"dicom_path": {"series_path": 5, "instance_uids": ["1"]}},
        {"dicom_path": {"series_path": "https://a.org/studies/1/series/2", "instance_uids": []}},
        {"dicom_path": {"series_path": "https://a.org/studies/1/series/2", "instance_uids": "1.2"}},
        {"dicom_path": {"series_path": "https://a.org/studies/1/series/2", "instance_uids": [5]}},
        {"bearer_token": 5},
    ],
)
def test_malformed_fields_are_field_errors(probe_app: App, changes: dict[str, object]) -> None:
    asked = {
        "dicom_path": {"series_path": "https://a.org/studies/1/series/2", "instance_uids": ["1"]},
        "patch_coordinates": [{"x_origin": 0, "y_origin": 0}],
    } | changes
    assert code_of(probe_app, asked) == "INVALID_REQUEST_FIELD_ERROR"


def test_credentials_are_checked_by_the_store(probe_app: App) -> None:
    slide = of_level()
    (level,) = slide.instances
    behaviour = Behaviour(tokens={"good-token"}, denied={"denied-token"})
    with Store(slide, behaviour=behaviour) as store:
        for token in (None, "wrong-token", "denied-token", "white space"):
            asked = ask(store, slide, [level.uid], token=token)
            assert code_of(probe_app, asked) == "INVALID_CREDENTIALS_ERROR"
        asked = ask(store, slide, [level.uid], token="good-token")
        assert_pixels(probe_app, asked, cut(level.truth, (0, 0)))
        # What the good token fetched is in caches now; nobody else sees it.
        assert code_of(probe_app, ask(store, slide, [level.uid])) == "INVALID_CREDENTIALS_ERROR"
        asked = ask(store, slide, [level.uid], token="wrong-token")
        assert code_of(probe_app, asked) == "INVALID_CREDENTIALS_ERROR"
    for token in ("good-token", "wrong-token", "denied-token"):
        assert token not in probe_app.log()


def status(code: int, *paths: str) -> Behaviour:
    def override(request: Request) -> Answer | None:
        return (code, {}, b"") if any(path in request.path for path in paths) else None

    return Behaviour(override=override)


@pytest.mark.parametrize("path", ["/metadata", "/frames/"])
@pytest.mark.parametrize("code", [400, 404, 410, 500, 503])
def test_other_faults_of_the_store_are_http_errors(probe_app: App, path: str, code: int) -> None:
    slide = of_level()
    with Store(slide, behaviour=status(code, path, "/instances" if path == "/metadata" else path)) as store:
        found = error(probe_app, ask(store, slide, [slide.instances[0].uid]))
        expected = "DICOM_PATH_ERROR" if (path, code) == ("/metadata", 404) else "HTTP_ERROR"
        assert found["code"] == expected
        if expected == "HTTP_ERROR":
            assert str(code) in found["description"]


def test_a_store_that_is_not_there_is_an_http_error(probe_app: App) -> None:
    slide = of_level()
    with Store(slide) as store:
        asked = ask(store, slide, [slide.instances[0].uid])
    assert code_of(probe_app, asked) == "HTTP_ERROR"


def test_a_busy_store_is_asked_again(probe_app: App) -> None:
    slide = of_level()
    (level,) = slide.instances
    answers = {"/metadata": [503, 429], "/frames/": [502, 504]}

    def override(request: Request) -> Answer | None:
        for path, statuses in answers.items():
            if path in request.path and statuses:
                return statuses.pop(0), {}, b""
        return None

    with Store(slide, behaviour=Behaviour(override=override)) as store:
        assert_pixels(probe_app, ask(store, slide, [level.uid]), cut(level.truth, (0, 0)))
        assert len(store.requests) == 6


@pytest.mark.parametrize("path", ["/metadata", "/frames/"])
def test_a_wrong_content_type_is_an_http_error(probe_app: App, path: str) -> None:
    slide = of_level()

    def override(request: Request) -> Answer | None:
        return (200, {"Content-Type": "text/html"}, b"<html>log in</html>") if path in request.path else None

    with Store(slide, behaviour=Behaviour(override=override)) as store:
        assert code_of(probe_app, ask(store, slide, [slide.instances[0].uid])) == "HTTP_ERROR"


def test_metadata_by_search_where_the_series_has_none(probe_app: App) -> None:
    slide = of_level()
    (level,) = slide.instances
    with Store(slide) as store:

        def override(request: Request) -> Answer | None:
            series = request.path.endswith("/metadata") and "/instances/" not in request.path
            return (404, {}, b"") if series else None

        store.behaviour.override = override
        assert_pixels(probe_app, ask(store, slide, [level.uid]), cut(level.truth, (0, 0)))


@pytest.mark.parametrize("listed", [b"[]", b""])
def test_an_unknown_series_is_a_path_error_in_every_dialect(probe_app: App, listed: bytes) -> None:
    slide = of_level()

    def override(_: Request) -> Answer | None:
        return 200, {"Content-Type": "application/dicom+json"}, listed

    with Store(slide, behaviour=Behaviour(override=override)) as store:
        assert code_of(probe_app, ask(store, slide, ["1.2"])) == "DICOM_PATH_ERROR"


@pytest.mark.parametrize("document", [b"{", b"5", b'{"a": 1}', b"[5]"])
def test_metadata_that_are_none_are_a_dicom_error(probe_app: App, document: bytes) -> None:
    slide = of_level()

    def override(_: Request) -> Answer | None:
        return 200, {"Content-Type": "application/dicom+json"}, document

    with Store(slide, behaviour=Behaviour(override=override)) as store:
        assert code_of(probe_app, ask(store, slide, ["1.2"])) == "DICOM_ERROR"


def frames_fault(kind: str, store: Store, level: StoredInstance) -> Behaviour:
    def override(request: Request) -> Answer | None:
        if "/frames/" not in request.path:
            return None
        numbers = [int(n) for n in request.path.rsplit("/", 1)[1].split(",")]
        parts = [
            ("application/octet-stream; transfer-syntax=" + level.syntax, level.frames[n - 1])
            for n in numbers
        ]
        if kind == "short":
            return store.multipart(parts[:-1])
        if kind == "damaged":
            return store.multipart([(t, data[: len(data) // 2]) for t, data in parts])
        if kind == "of another size":
            return store.multipart([(t, encode(stained(100, 80), "JPEG")) for t, _ in parts])
        code, headers, body = store.multipart(parts)
        if kind == "cut off":
            return code, headers | {"Content-Length": str(len(body))}, body[: len(body) * 2 // 3]
        return code, headers, body[: len(body) * 2 // 3]

    return Behaviour(override=override)


@pytest.mark.parametrize("kind", ["short", "damaged", "of another size", "cut off", "without an end"])
@pytest.mark.parametrize("name", ["JPEG", "explicit"])
def test_faulty_frames_are_a_dicom_error_that_names_instance_and_frame(
    probe_app: App, kind: str, name: str
) -> None:
    slide = pyramid(name, [(500, 350)])
    (level,) = slide.instances
    with Store(slide) as store:
        store.behaviour = frames_fault(kind, store, level)
        found = error(probe_app, ask(store, slide, [level.uid], (0, 0), (200, 100)))
        assert found["code"] == "DICOM_ERROR"
        assert level.uid in found["description"]
        assert "frame" in found["description"]


def test_a_syntax_that_is_not_known_is_asked_for_as_a_transcode_then_refused(probe_app: App) -> None:
    mpeg = "1.2.840.10008.1.2.4.102"
    slide = Slide()
    (level,) = slide.add_level(stained(500, 350), replace(CODINGS["explicit"], syntax=mpeg))
    with Store(slide) as store:
        found = error(probe_app, ask(store, slide, [level.uid]))
        assert found["code"] == "DICOM_ERROR"
        assert mpeg in found["description"]
        store.behaviour.transcodes[level.uid] = level.frames
        assert_pixels(probe_app, ask(store, slide, [level.uid], (3, 4)), cut(level.truth, (3, 4)))
        assert "transfer-syntax=*" not in store.frame_requests()[-1].headers["accept"]


def test_the_token_follows_no_redirect_elsewhere(probe_app: App) -> None:
    slide = of_level(ICCProfile=target_profile(IccTarget.ADOBERGB))
    (level,) = slide.instances
    with Store(slide) as elsewhere, Store(slide, behaviour=Behaviour(tokens={"the-token"})) as store:

        def redirect(request: Request) -> Answer | None:
            if "/frames/" in request.path:
                return 302, {"Location": elsewhere.origin + request.path}, b""
            return None

        store.behaviour.override = redirect
        assert_pixels(probe_app, ask(store, slide, [level.uid], token="the-token"), cut(level.truth, (0, 0)))
        assert elsewhere.requests
        assert all(request.token is None for request in elsewhere.requests)
        assert all(request.token == "Bearer the-token" for request in store.requests)


def test_bulk_data_elsewhere_gets_no_token(probe_app: App) -> None:
    slide = of_level(ICCProfile=target_profile(IccTarget.ADOBERGB))
    (level,) = slide.instances
    with Store(slide) as elsewhere, Store(slide, behaviour=Behaviour(tokens={"the-token"})) as store:

        def override(request: Request) -> Answer | None:
            if request.path.endswith("/metadata"):
                document = json.dumps([elsewhere.metadata(level, slide)]).encode()
                return 200, {"Content-Type": "application/dicom+json"}, document
            return None

        store.behaviour.override = override
        asked = ask(store, slide, [level.uid], token="the-token", transform_imaging_to_icc_profile="SRGB")
        (prediction,) = predictions(probe_app, asked)
        assert "result" in prediction
        assert [request.token for request in elsewhere.requests] == [None]


@pytest.mark.parametrize("location", ["http://example.org/x", "file:///etc/passwd", "//user@127.0.0.1/", ""])
def test_a_redirect_to_where_nobody_may_go_is_refused(probe_app: App, location: str) -> None:
    slide = of_level()
    behaviour = Behaviour(override=lambda _: (302, {"Location": location}, b""))
    with Store(slide, behaviour=behaviour) as store:
        assert code_of(probe_app, ask(store, slide, ["1.2"])) in ("HTTP_ERROR", "DICOM_PATH_ERROR")


def test_the_allow_list_is_held_before_any_connection() -> None:
    slide = of_level(ICCProfile=target_profile(IccTarget.ADOBERGB))
    uid = [slide.instances[0].uid]
    with Store(slide) as store, Store(slide) as other:
        environment: dict[str, object] = {
            "APPROVED_DICOM_STORE_SOURCE_LIST": json.dumps([f"{store.origin}/v1/projects/p"]),
        }
        with App(environment) as service:
            assert "result" in predictions(service, ask(store, slide, uid))[0]
            asked = ask(other, slide, uid)
            assert code_of(service, asked) == "UNAPPROVED_DICOM_STORE_ERROR"
            look_alike = store.series_path(slide).replace("/projects/p/", "/projects/p-evil/")
            assert code_of(service, ask(store, slide, uid, path=look_alike)) == "UNAPPROVED_DICOM_STORE_ERROR"
            assert other.requests == []

            def redirect(request: Request) -> Answer | None:
                return (
                    (302, {"Location": other.origin + request.path}, b"")
                    if "/frames/" in request.path
                    else None
                )

            store.behaviour.override = redirect
            asked = ask(store, slide, uid, (1, 1), token="new")
            assert code_of(service, asked) == "UNAPPROVED_DICOM_STORE_ERROR"

            def elsewhere(request: Request) -> Answer | None:
                document = json.dumps([other.metadata(slide.instances[0], slide)]).encode()
                metadata = request.path.endswith("/metadata")
                return (200, {"Content-Type": "application/dicom+json"}, document) if metadata else None

            store.behaviour.override = elsewhere
            asked = ask(store, slide, uid, token="newer", transform_imaging_to_icc_profile="SRGB")
            assert code_of(service, asked) == "UNAPPROVED_DICOM_STORE_ERROR"
            assert other.requests == []


def test_each_frame_is_fetched_once_in_few_requests(probe_app: App) -> None:
    slide = pyramid("JPEG", [(2560, 2304)])
    (level,) = slide.instances
    origins = [(x, y) for y in range(0, 2016, 224) for x in range(0, 2240, 224)] * 2
    with Store(slide) as store:
        asked = ask(store, slide, [level.uid], *origins)
        assert_pixels(probe_app, asked, cut(level.truth, *origins))
        fetched = [n for r in store.frame_requests() for n in r.path.rsplit("/", 1)[1].split(",")]
        assert len(fetched) == len(set(fetched)) == 72
        assert len(store.frame_requests()) == 2


def test_instances_of_one_level_share_its_frames(probe_app: App) -> None:
    slide = pyramid("explicit", [(500, 350)])
    (level,) = slide.instances
    with Store(slide) as store:
        asked = [ask(store, slide, [level.uid], (x, 100)) for x in range(0, 270, 9)]
        for prediction, x in zip(predictions(probe_app, *asked), range(0, 270, 9), strict=True):
            (found,) = prediction["result"]["patch_embeddings"]
            np.testing.assert_allclose(
                found["embedding_vector"], probe(np.stack(cut(level.truth, (x, 100))))[0], atol=TOLERANCE
            )
        fetched = [n for r in store.frame_requests() for n in r.path.rsplit("/", 1)[1].split(",")]
        assert len(fetched) == len(set(fetched)) == 4
        assert len([r for r in store.requests if r.path.endswith("/metadata")]) == 1


def test_a_request_mixes_sources_good_and_bad(probe_app: App) -> None:
    slide = of_level()
    (level,) = slide.instances
    with Store(slide) as store:
        found = predictions(
            probe_app,
            instance(encode(tissue())),
            ask(store, slide, [level.uid]),
            ask(store, slide, ["1.2"]),
            instance("@@"),
        )
        codes = [p.get("error", {}).get("code") for p in found]
        assert codes == [None, None, "LEVEL_NOT_FOUND_ERROR", "INVALID_REQUEST_FIELD_ERROR"]


def test_an_icc_folder_replaces_the_targets(tmp_path: Any) -> None:
    (tmp_path / "SRGB.icc").write_bytes(target_profile(IccTarget.ADOBERGB))
    slide = of_level(ICCProfile=target_profile(IccTarget.DISPLAYP3))
    (level,) = slide.instances
    environment: dict[str, object] = {"PATHSERVE_ICC_FOLDER": str(tmp_path)}
    with App(environment) as service, Store(slide) as store:
        asked = ask(store, slide, [level.uid], transform_imaging_to_icc_profile="SRGB")
        (pixels,) = cut(level.truth, (0, 0))
        expected = IccTransform(target_profile(IccTarget.DISPLAYP3), IccTarget.ADOBERGB, 3)
        assert_pixels(service, asked, [expected(np.ascontiguousarray(pixels))])


def test_a_slow_store_does_not_outlast_the_request() -> None:
    import threading

    released = threading.Event()
    slide = of_level()

    def override(request: Request) -> Answer | None:
        if "/frames/" in request.path:
            released.wait(60)
        return None

    environment: dict[str, object] = {"PATHSERVE_STORE_TIMEOUT_S": "0.5"}
    with App(environment) as service, Store(slide, behaviour=Behaviour(override=override)) as store:
        try:
            assert code_of(service, ask(store, slide, [slide.instances[0].uid])) == "HTTP_ERROR"
        finally:
            released.set()
        assert service.get("/health").status_code == 200
