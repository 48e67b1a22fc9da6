"""Quality of patches over HTTP: measured of the pixels that the model is given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dicom_io.colour.profiles import IccTarget, target_profile
from dicom_io.colour.transforms import IccTransform
from dicom_io.quality.measures import Measure
from dicom_io.quality.patch import measure
from serving.client import Image, PathserveClient
from serving.pipeline.outcome import Embeddings
from tests.support.app import App, ServedApp
from tests.support.asking import ask, cut, predictions
from tests.support.models import POISON
from tests.support.predicting import patch
from tests.support.slides import CODINGS, pyramid
from tests.support.store import Store
from tests.support.tissue import UInt8Array, encode, instance, tissue

QUALITY: dict[str, Any] = {"patch_quality": True}
NAMES = [str(one) for one in Measure]


def rows_of(prediction: dict[str, Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = prediction["result"]["patch_embeddings"]
    return rows


def assert_quality(rows: list[dict[str, Any]], truth: list[UInt8Array], tolerance: float = 6e-5) -> None:
    assert all([*row["quality"]] == NAMES for row in rows)
    found = [[row["quality"][name] for name in NAMES] for row in rows]
    expected = measure([np.ascontiguousarray(one) for one in truth])
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def test_each_patch_of_an_image_has_its_measures_beside_the_same_vector(probe_app: App) -> None:
    origins = [(x, y) for y in range(0, 280, 40) for x in range(0, 280, 40)]
    plain = instance(encode(tissue()), *origins)
    without, found = predictions(probe_app, plain, plain | {"extensions": QUALITY})
    assert_quality(rows_of(found), [patch(tissue(), *origin) for origin in origins])
    assert [row | {"quality": None} for row in rows_of(found)] == [
        row | {"quality": None} for row in rows_of(without)
    ]
    assert all("quality" not in row for row in rows_of(without))


def test_small_images_that_share_a_turn_each_have_their_own_or_none(probe_app: App) -> None:
    places = [(n * 8, n * 4) for n in range(32)]
    wanted = [n % 3 != 0 for n in range(32)]
    sent = [
        instance(encode(patch(tissue(), *at)), extensions={"patch_quality": want})
        for at, want in zip(places, wanted, strict=True)
    ]
    found = [rows_of(one) for one in predictions(probe_app, *sent)]
    assert ["quality" in row for (row,) in found] == wanted
    for rows, at, want in zip(found, places, wanted, strict=True):
        if want:
            assert_quality(rows, [patch(tissue(), *at)])


@pytest.mark.parametrize("name", ["explicit", "JPEG 2000 lossless", "JPEG XL lossless"])
def test_a_slides_patches_are_measured_wherever_they_are_decoded(probe_app: App, name: str) -> None:
    slide = pyramid(name, [(1000, 700)])
    (level,) = slide.instances
    origins = [(x, y) for y in range(0, 470, 90) for x in range(0, 770, 90)]
    with Store(slide) as store:
        (found,) = predictions(
            probe_app, ask(store, slide, [level.uid], *origins, **QUALITY, per_patch_errors=True)
        )
    assert_quality(rows_of(found), cut(level.truth, *origins), CODINGS[name].tolerance or 6e-5)


def test_colours_are_those_after_the_transform(probe_app: App) -> None:
    profile = target_profile(IccTarget.ROMMRGB)
    sent = instance(
        encode(tissue(), "PNG", icc_profile=profile),
        (30, 40),
        extensions=QUALITY | {"transform_imaging_to_icc_profile": "SRGB"},
    )
    (found,) = predictions(probe_app, sent)
    seen = IccTransform(profile, IccTarget.SRGB, 3)(patch(tissue(), 30, 40))
    assert_quality(rows_of(found), [seen])


def test_planted_patches_are_told_apart(probe_app: App) -> None:
    board = np.full((448, 448, 3), 255, np.uint8)
    board[:224, 224:] = 0
    board[224:, :224] = tissue(224, 224)
    board[224:, 280:392] = (0, 120, 60)
    origins = [(0, 0), (224, 0), (0, 224), (224, 224)]
    (found,) = predictions(probe_app, instance(encode(board), *origins, extensions=QUALITY))
    white, black, stained, marked = (row["quality"] for row in rows_of(found))
    assert (white["white"], white["tissue"], white["brightness"]) == (1, 0, 1)
    assert (black["black"], black["tissue"], black["brightness"]) == (1, 0, 0)
    assert stained["tissue"] > 0.3
    assert stained["pen"] == 0
    assert marked["pen"] == pytest.approx(0.5, abs=0.08)


def test_a_patch_that_was_read_is_measured_and_one_that_was_not_is_not(probe_app: App) -> None:
    pixels = tissue().copy()
    pixels[100, 100, 0] = POISON
    origins = [(0, 0), (289, 0), (100, 100)]
    extensions = QUALITY | {"per_patch_errors": True}
    (found,) = predictions(probe_app, instance(encode(pixels), *origins, extensions=extensions))
    good, outside, refused = rows_of(found)
    assert "quality" not in outside
    assert "error" in refused
    assert_quality([good, refused], [patch(pixels, 0, 0), patch(pixels, 100, 100)])


def test_the_client_returns_them_as_an_array(served_app: ServedApp) -> None:
    origins = [(n * 5, n * 3) for n in range(30)]
    bad = [*origins[:11], (289, 0), *origins[11:]]
    with PathserveClient(served_app.url, max_patches=7) as client:
        whole, some, plain = client.outcomes(
            [
                Image.of_bytes(encode(tissue()), origins, **QUALITY),
                Image.of_bytes(encode(tissue()), bad, per_patch_errors=True, **QUALITY),
                Image.of_bytes(encode(tissue()), origins),
            ]
        )
    assert isinstance(whole, Embeddings)
    assert isinstance(some, Embeddings)
    assert isinstance(plain, Embeddings)
    expected = measure([np.ascontiguousarray(patch(tissue(), *at)) for at in origins])
    assert whole.quality is not None
    np.testing.assert_allclose(whole.quality, expected, rtol=0, atol=6e-5)
    assert some.quality is not None
    assert np.isnan(some.quality[11]).all()
    np.testing.assert_array_equal(np.delete(some.quality, 11, axis=0), whole.quality)
    assert plain.quality is None
