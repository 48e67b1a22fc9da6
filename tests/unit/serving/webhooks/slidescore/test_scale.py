"""Which level is read for a resolution."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_io.errors import ImageError
from dicom_io.geometry import Rect
from serving.webhooks.slidescore.client import SlideFacts, TileGrid
from serving.webhooks.slidescore.scale import scale_of, tiled_level

GRID = TileGrid(254, 1)


@pytest.mark.parametrize(
    ("mpp", "wanted", "halvings", "side"),
    [
        (0.25, 0.5, 1, 448),  # the level below the largest
        (0.2522, 0.5, 1, 448),  # within 1 %: pixels are not resampled for nothing
        (0.2476, 0.5, 1, 448),
        (0.25, 0.25, 0, 224),
        (0.25, 0.4, 0, 358),
        (0.23, 0.5, 1, 487),
        (0.5, 0.5, 0, 224),
        (0.25, 1.0, 2, 896),
        (0.25, 16.0, 6, 224 * 64),
    ],
)
def test_the_coarsest_level_that_is_fine_enough_is_read(
    mpp: float, wanted: float, halvings: int, side: int
) -> None:
    facts = SlideFacts(100_000, 80_000, mpp)
    scale = scale_of(facts, GRID, wanted)
    assert (scale.level.halvings, scale.side) == (halvings, side)
    assert scale.level.number == 17 - halvings
    assert scale.um_per_px == pytest.approx(wanted, rel=0.0101)


@pytest.mark.parametrize("wanted", [0.0, -1.0, math.inf, math.nan, 100.0, 0.2])
def test_a_resolution_that_the_slide_does_not_have_is_refused(wanted: float) -> None:
    with pytest.raises(ImageError, match="µm"):
        scale_of(SlideFacts(1000, 1000, 0.25), GRID, wanted)


@pytest.mark.parametrize(("width", "height", "highest"), [(1, 1, 0), (2, 1, 1), (1024, 3, 10), (1025, 3, 11)])
def test_levels_are_numbered_as_deep_zoom_does(width: int, height: int, highest: int) -> None:
    assert tiled_level(SlideFacts(width, height, 0.25), GRID, 0).number == highest
    smallest = tiled_level(SlideFacts(width, height, 0.25), GRID, 99)
    assert (smallest.number, smallest.width, smallest.height) == (0, 1, 1)


@given(
    width=st.integers(1, 3000), height=st.integers(1, 3000),
    side=st.integers(16, 700), overlap=st.integers(0, 8),
    x=st.integers(-100, 3000), y=st.integers(-100, 3000), w=st.integers(1, 1500), h=st.integers(1, 1500),
)  # fmt: skip
def test_the_tiles_of_a_region_cover_it_without_overlap(
    width: int, height: int, side: int, overlap: int, x: int, y: int, w: int, h: int
) -> None:
    level = tiled_level(SlideFacts(width, height, 0.25), TileGrid(side, overlap), 0)
    region = Rect(x, y, w, h)
    inside = region.clip(width, height)
    parts = [level.area(*place).intersection(region) for place in level.touched(region)]
    covered = sum(part.width * part.height for part in parts if part is not None)
    assert covered == (0 if inside is None else inside.width * inside.height)
    for place in level.touched(region):
        area, stored = level.area(*place), level.stored(*place)
        assert area.intersection(stored) == area
