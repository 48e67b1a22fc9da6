"""Which levels a viewer draws of a slide."""

from __future__ import annotations

from itertools import pairwise

import pytest

from dicom_io.codecs.frame_format import FrameFormat
from dicom_io.geometry import Rect
from dicom_io.local.file_level import FileLevel
from serving.view.levels import FURTHEST, SMALLEST_SIDE, DrawnLevel, drawn_levels


def levels(*sizes: tuple[int, int], tile: tuple[int, int] = (256, 256)) -> list[FileLevel]:
    form = FrameFormat(*tile, 3, "RGB", 0)
    return [FileLevel(width, height, *tile, i, None, form, "1.2") for i, (width, height) in enumerate(sizes)]


def test_levels_four_times_apart_are_drawn_as_they_are() -> None:
    drawn = drawn_levels(levels((40_000, 30_000), (10_000, 7_500), (2_500, 1_875), (625, 469)))
    assert [level.width for level in drawn] == [40_000, 10_000, 2_500, 625]
    assert all(level.is_stored for level in drawn)


@pytest.mark.parametrize(
    "sizes",
    [
        ((30_000, 20_000),),
        ((100_000, 20_000), (6_250, 1_250)),
        ((20_000, 60_000), (5_000, 15_000)),
        ((900, 700),),
        ((16_000, 16_000), (2_000, 2_000)),
    ],
)
def test_between_levels_far_apart_others_are_made_and_the_last_is_small(
    sizes: tuple[tuple[int, int], ...],
) -> None:
    drawn = drawn_levels(levels(*sizes))
    widths = [level.width for level in drawn]
    assert widths == sorted(widths, reverse=True)
    for level in drawn:
        stored_width, stored_height = sizes[level.stored]
        assert stored_width / level.width <= 8.0001, "no level may be shrunk further"
        assert stored_height / level.height <= 8.0001
        assert level.is_stored == ((level.width, level.height) == sizes[level.stored])
    if len(sizes) == 1:
        assert max(drawn[-1].width, drawn[-1].height) <= max(SMALLEST_SIDE, max(sizes[0]) / 8 + 1)
    assert all(a / b <= 2 * FURTHEST for a, b in pairwise(widths))


def test_tiles_that_are_too_large_or_too_small_are_cut_anew() -> None:
    for tile, own in (((4000, 3000), False), ((64, 64), False), ((1024, 512), True)):
        (drawn, *_) = drawn_levels(levels((8000, 6000), tile=tile))
        assert drawn.is_stored is own
        assert (drawn.tile_width, drawn.tile_height) == (tile if own else (512, 512))


def test_the_last_tiles_end_with_the_level() -> None:
    level = DrawnLevel(1000, 700, 256, 256, 0, is_stored=True)
    assert (level.across, level.down) == (4, 3)
    assert level.tile(3, 2) == Rect(768, 512, 232, 188)
    assert level.tile(0, 0) == Rect(0, 0, 256, 256)
