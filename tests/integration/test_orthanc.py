"""Slides in a real Orthanc."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest

from dicom_io.colour.profiles import IccTarget, target_profile
from dicom_io.colour.transforms import IccTransform
from tests.support.asking import CORNERS, cut
from tests.support.models import TOLERANCE, probe
from tests.support.orthanc import Orthanc, missing
from tests.support.service import Service
from tests.support.slides import CODINGS, MICROSCOPIC, Slide, pyramid, stained

if missing() and not os.environ.get("REQUIRE_ORTHANC"):
    pytest.skip(missing(), allow_module_level=True)


TRANSCODED = {"native YBR_FULL_422": 8}
"""What Orthanc 1.10 gives only as a JPEG of its own, and the levels that this may cost."""


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with Orthanc(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


def asked(
    orthanc: Orthanc, slide: Slide, uids: list[str], *origins: tuple[int, int], icc: str = "NONE"
) -> object:
    return {
        "dicom_path": {"series_path": orthanc.series_path(slide), "instance_uids": uids},
        "patch_coordinates": [{"x_origin": x, "y_origin": y} for x, y in origins],
        "extensions": {"transform_imaging_to_icc_profile": icc},
    }


def embed(service: Service, request: object) -> np.ndarray:
    (prediction,) = service.predict(request).json()["predictions"]
    assert "result" in prediction, prediction
    return np.array([e["embedding_vector"] for e in prediction["result"]["patch_embeddings"]])


@pytest.mark.parametrize("name", CODINGS)
def test_orthanc_serves_every_syntax_as_stored(probe_service: Service, orthanc: Orthanc, name: str) -> None:
    slide = pyramid(name, [(1000, 700), (500, 350)])
    orthanc.store(slide)
    for level, origins in zip(slide.instances, (CORNERS, ((0, 0), (276, 126))), strict=True):
        found = embed(probe_service, asked(orthanc, slide, [level.uid], *origins))
        tolerance = TOLERANCE + TRANSCODED.get(name, CODINGS[name].tolerance) / 255
        np.testing.assert_allclose(found, probe(np.stack(cut(level.truth, *origins))), atol=tolerance, rtol=0)


def test_orthancs_bulk_data_hold_the_profile(probe_service: Service, orthanc: Orthanc) -> None:
    profile = target_profile(IccTarget.ADOBERGB)
    slide = pyramid("explicit", [(500, 350)], ICCProfile=profile)
    orthanc.store(slide)
    (level,) = slide.instances
    (pixels,) = cut(level.truth, (50, 60))
    expected = IccTransform(profile, IccTarget.SRGB, 3)(np.ascontiguousarray(pixels))
    found = embed(probe_service, asked(orthanc, slide, [level.uid], (50, 60), icc="SRGB"))
    np.testing.assert_allclose(found[0], probe(expected[np.newaxis])[0], atol=TOLERANCE, rtol=0)


def test_a_concatenation_in_orthanc_is_one_level(probe_service: Service, orthanc: Orthanc) -> None:
    slide = Slide()
    parts = slide.add_level(stained(1000, 700), CODINGS["JPEG"], parts=3, ConcatenationUID="1.2.3.4")
    orthanc.store(slide)
    found = embed(probe_service, asked(orthanc, slide, [parts[1].uid], *CORNERS))
    np.testing.assert_allclose(found, probe(np.stack(cut(parts[0].truth, *CORNERS))), atol=TOLERANCE, rtol=0)


def test_a_single_image_in_orthanc(probe_service: Service, orthanc: Orthanc) -> None:
    slide = Slide()
    image = slide.add_single(stained(600, 400), CODINGS["JPEG"], MICROSCOPIC)
    orthanc.store(slide)
    found = embed(probe_service, asked(orthanc, slide, [image.uid], (376, 176)))
    np.testing.assert_allclose(found, probe(np.stack(cut(image.truth, (376, 176)))), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize(
    ("study", "uid", "code"),
    [(None, "1.2.3", "LEVEL_NOT_FOUND_ERROR"), ("1.2.3.4", "1.2.3", "DICOM_PATH_ERROR")],
)
def test_what_orthanc_does_not_have_is_named(
    probe_service: Service, orthanc: Orthanc, study: str | None, uid: str, code: str
) -> None:
    slide = pyramid("explicit", [(500, 350)])
    orthanc.store(slide)
    if study is not None:
        slide.study = study
    (prediction,) = probe_service.predict(asked(orthanc, slide, [uid], (0, 0))).json()["predictions"]
    assert prediction["error"]["code"] == code
