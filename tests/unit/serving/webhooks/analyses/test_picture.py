from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from dicom_io.geometry import Rect
from serving.webhooks.analyses.heatmap import HeatMap
from serving.webhooks.analyses.picture import under_heat_map

HEAT = HeatMap(1000, 2000, 100, np.array([[255, 0], [1, 128]], np.uint8))
GRAY = np.full((80, 60, 3), 100, np.uint8)


def picture(shown: Rect, pixels: np.ndarray = GRAY) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(under_heat_map(pixels, shown, HEAT))))


def test_each_cell_lies_over_its_place_and_is_clear_where_there_is_no_patch() -> None:
    # 60 x 80 pixels for 300 x 400 of the slide: a cell has 20 x 20, the map begins at (20, 20).
    shown = picture(Rect(900, 1900, 300, 400))
    assert shown.shape == (80, 60, 3)
    tinted = (shown != 100).any(axis=2)
    expected = np.zeros((80, 60), bool)
    expected[20:40, 20:40] = expected[40:60, 20:60] = True
    assert (tinted == expected).all()
    assert shown[30, 30, 0] > shown[30, 30, 2], "high is red"
    assert shown[50, 30, 2] > shown[50, 30, 1], "low is blue"


@pytest.mark.parametrize("shown", [Rect(5000, 5000, 300, 400), Rect(-5000, -5000, 300, 400)])
def test_beside_its_heat_map_a_picture_is_as_it_was(shown: Rect) -> None:
    assert (picture(shown) == GRAY).all()


def test_a_picture_may_be_finer_than_the_slide() -> None:
    assert (picture(Rect(1000, 2000, 10, 10)) != 100).any(axis=2).all()
