from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage.measure import blur_effect as known_blur_effect

from dicom_io.quality.blur import blur_effect, blur_effects
from tests.support.slides import stained
from tests.support.tissue import UInt8Array, tissue

BLURS = (0, 0.5, 1, 1.5, 2, 3)
"""Standard deviations in pixels."""


def patch(pixels: UInt8Array, blur: float) -> UInt8Array:
    shown = pixels if blur == 0 else cv2.GaussianBlur(pixels, (0, 0), blur)
    return np.ascontiguousarray(shown[200:424, 300:524])


@pytest.mark.parametrize("pixels", [tissue(1024, 1024), stained(1024, 1024)], ids=["IHC", "H&E"])
def test_the_blur_effect_is_the_one_of_scikit_image_and_rises_with_blur(pixels: UInt8Array) -> None:
    found = [blur_effect(patch(pixels, blur)) for blur in BLURS]
    gray = [cv2.cvtColor(patch(pixels, blur), cv2.COLOR_RGB2GRAY) for blur in BLURS]
    assert found == pytest.approx([known_blur_effect(one, h_size=11) for one in gray], abs=0.01)
    assert found == sorted(found)
    assert found[0] < 0.4, "sharp"
    assert found[-1] > 0.6, "out of focus"


def test_the_blur_effect_hardly_depends_on_how_strongly_a_patch_is_stained() -> None:
    pale = (255 - (255 - patch(stained(1024, 1024), 0).astype(np.float64)) * 0.3).round().astype(np.uint8)
    assert blur_effect(pale) == pytest.approx(blur_effect(patch(stained(1024, 1024), 0)), abs=0.03)


def test_movement_along_one_axis_is_blur_as_well() -> None:
    moved = cv2.blur(patch(stained(1024, 1024), 0), (9, 1))
    assert blur_effect(np.asarray(moved, np.uint8)) > 0.5


def test_what_shows_nothing_has_no_edges_to_lose() -> None:
    assert blur_effect(np.full((224, 224, 3), 200, np.uint8)) == 1.0


@pytest.mark.parametrize("pixels", [tissue(1024, 1024), stained(1024, 1024)], ids=["IHC", "H&E"])
def test_some_of_the_rows_and_columns_say_what_all_of_them_say(pixels: UInt8Array) -> None:
    patches = [patch(pixels, blur) for blur in BLURS]
    assert blur_effects(patches, 8) == pytest.approx([blur_effect(one) for one in patches], abs=0.02)
    np.testing.assert_array_equal(blur_effects(patches, 1), [blur_effect(one) for one in patches])


def test_the_edges_along_rows_are_those_of_a_row_that_was_blurred() -> None:
    noise = np.random.default_rng(3).integers(0, 256, (64, 80), np.uint8)
    pixels = np.repeat(noise[:, :, np.newaxis], 3, axis=2)
    found = []
    for gray in (noise.astype(np.float64), noise.T.astype(np.float64)):
        smooth = gray[:-2] + 2 * gray[1:-1] + gray[2:]
        blurred = np.array([np.convolve(row, np.ones(11) / 11, "valid") for row in smooth])
        edges = np.abs(smooth[:, 2:] - smooth[:, :-2])[:, 5:-5]
        left = np.abs(blurred[:, 2:] - blurred[:, :-2])
        found.append(1 - np.maximum(edges - left, 0).sum() / edges.sum())
    assert blur_effect(pixels) == pytest.approx(max(found), rel=1e-9)
