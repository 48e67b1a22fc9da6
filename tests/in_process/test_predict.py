"""The request path in one process, with an encoder that shows every wrong pixel."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from dicom_io.colour.profiles import IccTarget, target_profile
from dicom_io.colour.transforms import IccTransform
from dicom_io.resampling import resize
from tests.support.app import App, Predicts, ServedApp
from tests.support.models import TOLERANCE, probe
from tests.support.predicting import embed, patch, vectors
from tests.support.tissue import UInt8Array, base64_text, encode, instance, tissue
from tests.unit.dicom_io.codecs.test_raster import bomb


def assert_pixels(service: Predicts, sent: dict[str, object], *expected: UInt8Array) -> None:
    """Hold that the model saw exactly these patches."""
    (found,) = embed(service, sent)
    np.testing.assert_allclose(found, probe(np.stack(expected)), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "WEBP", "JPEG2000", "JXL"])
def test_the_model_sees_the_exact_pixels_of_lossless_images(probe_app: App, kind: str) -> None:
    options = {"lossless": True} if kind in ("WEBP", "JXL") else {}
    origins = [(0, 0), (288, 288), (17, 133)]
    sent = instance(encode(tissue(), kind, **options), *origins)
    assert_pixels(probe_app, sent, *(patch(tissue(), x, y) for x, y in origins))


def test_the_model_sees_what_the_jpeg_decoder_gives(probe_app: App) -> None:
    data = encode(tissue(), "JPEG", quality=85)
    decoded = np.asarray(Image.open(__import__("io").BytesIO(data)))
    assert_pixels(probe_app, instance(data, (100, 50)), patch(decoded, 100, 50))


def test_gray_is_replicated_and_alpha_dropped(probe_app: App) -> None:
    gray = tissue()[:, :, 1]
    replicated = np.repeat(gray[:, :, None], 3, axis=2)
    assert_pixels(probe_app, instance(encode(gray), (5, 6)), patch(replicated, 5, 6))
    with_alpha = np.dstack([tissue(), np.full(gray.shape, 128, np.uint8)])
    assert_pixels(probe_app, instance(encode(with_alpha), (5, 6)), patch(tissue(), 5, 6))


def test_cmyk_is_converted(probe_app: App) -> None:
    inks = Image.fromarray(tissue()).convert("CMYK")
    data = encode(inks, "TIFF")
    assert_pixels(probe_app, instance(data, (9, 9)), patch(np.asarray(inks.convert("RGB")), 9, 9))


@pytest.mark.parametrize("size", [(256, 300), (1000, 700), (256, 700)])
def test_the_whole_image_is_resized_before_patches_are_cut(probe_app: App, size: tuple[int, int]) -> None:
    width, height = size
    x, y = width - 224, height - 224
    sent = instance(
        encode(tissue()), (x, y), extensions={"image_dimensions": {"width_px": width, "height_px": height}}
    )
    assert_pixels(probe_app, sent, patch(resize(tissue(), width, height), x, y))


@pytest.mark.parametrize("target", ["SRGB", "AdobeRGB", "rommrgb", "DISPLAYP3"])
def test_the_images_own_profile_drives_the_transform(probe_app: App, target: str) -> None:
    source = target_profile(IccTarget.ADOBERGB if target != "AdobeRGB" else IccTarget.DISPLAYP3)
    data = encode(tissue(), "PNG", icc_profile=source)
    expected = IccTransform(source, IccTarget(target.upper()), 3)(patch(tissue(), 30, 40))
    assert np.abs(expected.astype(int) - patch(tissue(), 30, 40)).max() > 2
    extensions: dict[str, object] = {"transform_imaging_to_icc_profile": target}
    assert_pixels(probe_app, instance(data, (30, 40), extensions=extensions), expected)
    extensions = {"transform_imaging_to_icc_profile": "NONE"}
    assert_pixels(probe_app, instance(data, (30, 40), extensions=extensions), patch(tissue(), 30, 40))


def test_an_image_without_a_profile_is_not_transformed(probe_app: App) -> None:
    sent = instance(encode(tissue()), extensions={"transform_imaging_to_icc_profile": "SRGB"})
    assert_pixels(probe_app, sent, patch(tissue(), 0, 0))


@pytest.mark.parametrize("allowed", [False, "False"])
def test_outside_of_the_image_is_black_where_that_is_allowed(probe_app: App, allowed: object) -> None:
    framed = np.zeros((900, 900, 3), np.uint8)
    framed[100:612, 100:612] = tissue()
    origins = [(-100, -30), (400, 400), (-50, 480), (600, 600)]
    sent = instance(encode(tissue()), *origins, extensions={"require_patches_fully_in_source_image": allowed})
    expected = [patch(framed, x + 100, y + 100) for x, y in origins[:3]]
    assert_pixels(probe_app, sent, *expected, np.zeros((224, 224, 3), np.uint8))


def good() -> dict[str, object]:
    return instance(encode(tissue()[:224, :224]))


def faulty(**changes: object) -> dict[str, object]:
    return good() | changes


PNG = encode(tissue())
JPEG = encode(tissue(), "JPEG")
FIELD = "INVALID_REQUEST_FIELD_ERROR"

FAULTS: dict[str, tuple[object, str]] = {
    "bad base64": (instance("@@@@"), FIELD),
    "url-safe base64": (instance(base64_text(b"\xfb\xef\xff").replace("+", "-").replace("/", "_")), FIELD),
    "base64 with line breaks": (instance(base64_text(PNG)[:76] + "\n" + base64_text(PNG)[76:]), FIELD),
    "base64 cut off": (instance(base64_text(PNG)[:-3]), FIELD),
    "text beyond ASCII": (instance("ÄÖÜß"), FIELD),
    "empty bytes": (instance(""), "IMAGE_ERROR"),
    "truncated PNG": (instance(PNG[: len(PNG) // 2]), "IMAGE_ERROR"),
    "truncated JPEG": (instance(JPEG[: len(JPEG) // 2]), "IMAGE_ERROR"),
    "text renamed .png": (instance(b"not an image at all"), "IMAGE_ERROR"),
    "a bomb": (instance(bomb()), "IMAGE_DIMENSION_ERROR"),
    "too large a resize": (
        instance(PNG, extensions={"image_dimensions": {"width_px": 10_001, "height_px": 300}}),
        "IMAGE_DIMENSION_ERROR",
    ),
    "16 bits": (instance(encode(Image.fromarray(np.zeros((224, 224), np.uint16)))), "IMAGE_ERROR"),
    "a number": (5, FIELD),
    "null": (None, FIELD),
    "a list": ([], FIELD),
    "no patches": (faulty(patch_coordinates=[]), FIELD),
    "patches missing": ({"raw_image_bytes": base64_text(PNG)}, FIELD),
    "a patch outside": (instance(PNG, (289, 0)), "PATCH_OUTSIDE_OF_IMAGE_DIMENSIONS_ERROR"),
    "a negative patch": (instance(PNG, (-1, 0)), "PATCH_OUTSIDE_OF_IMAGE_DIMENSIONS_ERROR"),
    "far outside": (instance(PNG, (2**62, 0)), "PATCH_OUTSIDE_OF_IMAGE_DIMENSIONS_ERROR"),
    "beyond 64 bits": (instance(PNG, (2**63, 0)), FIELD),
    "not a number": (instance(PNG, (float("nan"), 0)), FIELD),
    "another patch size": (
        faulty(patch_coordinates=[{"x_origin": 0, "y_origin": 0, "width": 256, "height": 256}]),
        "INCOMPATIBLE_PATCH_DIMENSIONS_ERROR",
    ),
    "a broken profile": (
        instance(
            encode(tissue(), "PNG", icc_profile=b"junk"),
            extensions={"transform_imaging_to_icc_profile": "SRGB"},
        ),
        "INVALID_ICC_PROFILE_TRANSFORM_ERROR",
    ),
    "an unknown colour space": (
        instance(PNG, extensions={"transform_imaging_to_icc_profile": "XYZ"}),
        "INVALID_ICC_PROFILE_TRANSFORM_ERROR",
    ),
    "a DICOM path": ({"dicom_path": {}, "patch_coordinates": [{"x_origin": 0, "y_origin": 0}]}, FIELD),
    "a token with bytes": (faulty(bearer_token="t0k3n"), FIELD),
    "two sources": (faulty(image_file_uri="gs://a/b.png"), FIELD),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_stays_inside_its_instance(probe_app: App, fault: str) -> None:
    bad, code = FAULTS[fault]
    response = probe_app.request(
        "POST", "/predict", json.dumps({"instances": [good(), bad, good()]}).encode()
    )
    assert response.status_code == 200, response.text
    first, second, third = response.json()["predictions"]
    assert second["error"]["code"] == code
    assert 0 < len(second["error"]["description"]) <= 1024
    expected = probe(tissue()[np.newaxis, :224, :224])
    for prediction in (first, third):
        np.testing.assert_allclose(vectors(prediction), expected, atol=TOLERANCE, rtol=0)


def test_all_faults_in_one_request_keep_their_order(probe_app: App) -> None:
    sent: list[object] = []
    for bad, _ in FAULTS.values():
        sent += [bad, good()]
    response = probe_app.request("POST", "/predict", json.dumps({"instances": sent}).encode())
    predictions = response.json()["predictions"]
    assert [p["error"]["code"] for p in predictions[::2]] == [code for _, code in FAULTS.values()]
    assert all("result" in p for p in predictions[1::2])


def test_googles_route_answers_too(probe_app: App) -> None:
    url = "/v1/projects/p/locations/l/endpoints/123:predict"
    response = probe_app.post(url, {"instances": [good()]})
    assert response.status_code == 200
    assert "result" in response.json()["predictions"][0]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, FIELD),
        (b"", 400, FIELD),
        (b"\xff\xfe\x00", 400, FIELD),
        (b"[]", 400, FIELD),
        (b'{"instances": []}', 400, FIELD),
        (b'{"instances": "all"}', 400, FIELD),
        (json.dumps({"instances": [0] * 4001}).encode(), 400, "TOO_MANY_PATCHES_ERROR"),
    ],
)
def test_a_request_that_is_none_is_refused_whole(probe_app: App, body: bytes, status: int, code: str) -> None:
    response = probe_app.request("POST", "/predict", body)
    assert response.status_code == status
    assert response.json()["error"]["code"] == code


def test_4001_patches_of_one_image_are_too_many(probe_app: App) -> None:
    response = probe_app.predict(instance(PNG, *[(0, 0)] * 4001))
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "TOO_MANY_PATCHES_ERROR"


def test_wrong_paths_and_methods_are_answered_as_json(probe_app: App) -> None:
    response = probe_app.get("/predict")
    assert response.status_code == 405
    assert response.json()["error"]["code"] == "METHOD_NOT_ALLOWED_ERROR"
    assert "POST" in response.headers["Allow"]
    response = probe_app.get("/nowhere")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "NOT_FOUND_ERROR"


def test_numbers_round_trip_as_float32(probe_app: App) -> None:
    text = probe_app.predict(good()).text
    values = json.loads(text)["predictions"][0]["result"]["patch_embeddings"][0]["embedding_vector"]
    assert all(float(np.float32(value)) == float(np.float32(str(value))) for value in values)
    assert len(json.dumps(values, separators=(",", ":"))) < 4300


def test_a_body_beyond_the_limit_is_413() -> None:
    with App({"PATHSERVE_MAX_REQUEST_BYTES": "200000"}) as app, ServedApp(app) as service:
        assert service.predict(instance(encode(tissue(), "JPEG", quality=70))).status_code == 200
        response = service.predict(instance(encode(tissue())))
        assert response.status_code == 413
        assert response.json()["error"]["code"] == "REQUEST_TOO_LARGE_ERROR"

        def chunks() -> Iterator[bytes]:
            for _ in range(100):
                yield b" " * 10_000

        response = service.session.post(f"{service.url}/predict", data=chunks(), timeout=30)
        assert response.status_code == 413
