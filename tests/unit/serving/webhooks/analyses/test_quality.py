from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage.measure import blur_effect as known_blur_effect

from serving.webhooks.analyses.quality import blur_effect, pen_mask
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
    assert found == pytest.approx([known_blur_effect(one, h_size=11) for one in gray], abs=0.005)
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


def slide() -> UInt8Array:
    whole = np.full((1000, 1400, 3), 242, np.uint8)
    whole[200:800, 200:800] = tissue(600, 600)
    whole[200:800, 800:1200] = stained(400, 600)
    return whole


@pytest.mark.parametrize(
    "ink", [(20, 60, 180), (40, 80, 200), (0, 120, 60), (10, 160, 90), (10, 10, 10), (40, 40, 45)]
)
def test_strokes_of_blue_green_and_black_pens_are_found_on_glass_and_tissue(
    ink: tuple[int, int, int],
) -> None:
    marked = np.asarray(cv2.line(slide(), (100, 100), (1300, 600), ink, 10), np.uint8)
    drawn = (marked != slide()).any(axis=2)
    found = pen_mask(marked)
    assert (found & drawn).sum() > 0.9 * drawn.sum()
    assert (found & ~drawn).sum() < 0.05 * drawn.sum()


def test_stained_tissue_specks_and_what_was_not_scanned_are_no_ink() -> None:
    clean = slide()
    clean[:, :100] = 0
    clean[50:54, 500:502] = (0, 120, 60)
    assert not pen_mask(clean).any()
    for by in (0.5, 0.2, 0.1):
        assert not pen_mask(np.asarray(cv2.resize(slide(), None, fx=by, fy=by), np.uint8)).any()
