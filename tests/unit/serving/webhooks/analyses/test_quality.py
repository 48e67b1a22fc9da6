from __future__ import annotations

import cv2
import numpy as np
import pytest

from serving.webhooks.analyses.quality import pen_mask
from tests.support.slides import stained
from tests.support.tissue import UInt8Array, tissue


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
