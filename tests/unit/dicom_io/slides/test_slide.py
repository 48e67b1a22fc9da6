"""A slide's scales, grids and overview, held to data sets that pydicom made."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from dicom_io.errors import ImageCode, ImageError
from dicom_io.geometry import Patch, Rect, Spacing, UInt8Array
from dicom_io.reading import ReadOptions
from dicom_io.slides.instance import parse_instance
from dicom_io.slides.level import Level
from dicom_io.slides.pyramid import pyramid_levels
from dicom_io.slides.slide import NoResolution, OverviewTooLarge, Slide, View, grid
from tests.support.series import MemorySeries, parsed
from tests.support.slides import CODINGS, MICROSCOPIC, pyramid, stained
from tests.support.slides import Slide as BuiltSlide
from tests.unit.dicom_io.slides.test_opening import opener, read, waits

SIZES = ((1000, 700), (500, 350), (250, 175))
"""Of 10 mm along a row each: pixels of 10, 20 and 40 µm."""


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture(scope="module")
def slide() -> Slide[Level]:
    return slide_of(pyramid("explicit", SIZES))


def slide_of(built: BuiltSlide) -> Slide[Level]:
    return Slide(pyramid_levels([parsed(i) for i in built.instances], strict=True))


def measured(row: float, column: float) -> list[Dataset]:
    """Return shared functional groups with distances in mm between rows and between columns."""
    measures, shared = Dataset(), Dataset()
    measures.PixelSpacing = [row, column]
    shared.PixelMeasuresSequence = [measures]
    return [shared]


def spacing_of(**changes: object) -> Spacing | None:
    return slide_of(pyramid("explicit", [(1000, 700)], **changes)).spacing


def test_the_distance_between_rows_comes_first_in_pixel_spacing() -> None:
    found = spacing_of(SharedFunctionalGroupsSequence=measured(0.0005, 0.00025))
    assert found == Spacing(x=0.25, y=0.5)


@pytest.mark.parametrize("spacing", [(0.0, 0.0), (-0.01, 0.01), (0.01, 0.0)])
def test_without_a_usable_pixel_spacing_the_imaged_volume_tells(spacing: tuple[float, float]) -> None:
    found = spacing_of(
        SharedFunctionalGroupsSequence=measured(*spacing), ImagedVolumeWidth=5.0, ImagedVolumeHeight=7.0
    )
    assert found == Spacing(x=5.0, y=10.0)


def test_pixel_spacing_of_another_shape_is_none() -> None:
    built = pyramid("explicit", [(1000, 700)])
    document = built.instances[0].dataset.to_json_dict()
    measures = document["52009229"]["Value"][0]["00289110"]["Value"][0]
    for value, expected in (
        (["0.0005", "0.00025"], (0.0005, 0.00025)),  # DS as strings
        ([0.01], None),
        ([None, 0.01], None),
        ([], None),
    ):
        measures["00280030"]["Value"] = value
        assert parse_instance(document).pixel_spacing == expected


def test_a_single_image_may_have_no_spacing() -> None:
    built = BuiltSlide()
    built.add_single(stained(300, 300), CODINGS["explicit"], MICROSCOPIC)
    slide = slide_of(built)
    assert slide.spacing is None
    assert slide.view(0).spacing is None
    with pytest.raises(NoResolution, match="metadata gives none") as caught:
        slide.at(1.0)
    assert caught.value.code is ImageCode.LEVEL_NOT_FOUND_ERROR
    with pytest.raises(NoResolution, match="metadata gives none"):
        slide.region_of_mm(0, 0, 1, 1)


def test_levels_come_largest_first_and_a_concatenation_is_one() -> None:
    built = BuiltSlide()
    for width, height, parts in ((250, 175, 1), (1000, 700, 3), (500, 350, 1)):
        built.add_level(stained(width, height), CODINGS["explicit"], parts=parts)
    levels = slide_of(built).levels
    assert [(level.width, level.height) for level in levels] == [*SIZES]
    assert levels[0].sop_uids == tuple(i.uid for i in built.instances[1:4])


@pytest.mark.parametrize(
    ("um_per_px", "index", "dimensions"),
    [
        (10, 0, None),
        (9.95, 0, None),
        (15, 0, (667, 467)),
        (20, 1, None),
        (25, 1, (400, 280)),
        (39, 1, (256, 179)),
        (39.7, 2, None),
        (40.3, 2, None),
        (300, 2, (33, 23)),
        (320, 2, (32, 22)),
        (322, 2, (32, 22)),
    ],
)
def test_a_scale_comes_from_the_coarsest_level_that_is_as_fine(
    slide: Slide[Level], um_per_px: float, index: int, dimensions: tuple[int, int] | None
) -> None:
    view = slide.at(um_per_px)
    assert (view.index, view.image_dimensions) == (index, dimensions)
    assert view.level is slide.levels[index]


def test_scales_that_no_level_can_give_are_refused(slide: Slide[Level]) -> None:
    with pytest.raises(ImageError, match=r"9\.8 µm or less; the finest has 10 µm") as caught:
        slide.at(9.8)
    assert caught.value.code is ImageCode.LEVEL_NOT_FOUND_ERROR
    with pytest.raises(ImageError, match="more than 8 times") as caught:
        slide.at(330)
    assert caught.value.code is ImageCode.DICOM_IMAGE_DOWNSAMPLING_TOO_LARGE_ERROR
    for wrong in (0, -1, math.nan, math.inf):
        with pytest.raises(ValueError, match="not a size"):
            slide.at(wrong)


@given(um_per_px=st.floats(9.91, 323))
def test_a_scale_is_met_to_a_percent_or_half_a_pixel(slide: Slide[Level], um_per_px: float) -> None:
    view = slide.at(um_per_px)
    assert view.spacing is not None
    assert max(view.level.width / view.width, view.level.height / view.height) <= 8
    for found, pixels, stored in (
        (view.spacing.x, view.width, view.level.width),
        (view.spacing.y, view.height, view.level.height),
    ):
        error = abs(found - um_per_px) / um_per_px
        assert error <= max(0.0102, 0.51 / pixels) or pixels == math.ceil(stored / 8)


def test_a_scale_at_the_limit_can_be_read(threads: ThreadPoolExecutor) -> None:
    built = pyramid("explicit", SIZES)
    view = slide_of(built).at(320)
    series = MemorySeries(built, threads, waits())
    options = ReadOptions(image_dimensions=view.image_dimensions)
    (pixels,) = read(series, view.level.sop_uids, [Patch(0, 0, view.width, view.height)], options)
    mean = built.instances[-1].truth.mean(axis=(0, 1))
    np.testing.assert_allclose(pixels.mean(axis=(0, 1)), mean, atol=1)


@given(
    width=st.integers(1, 60), height=st.integers(1, 60), side=st.integers(1, 20), stride=st.integers(1, 25)
)
def test_a_grid_has_every_patch_that_is_fully_inside(width: int, height: int, side: int, stride: int) -> None:
    expected = [
        (x, y)
        for y in range(height)
        for x in range(width)
        if x % stride == y % stride == 0 and x + side <= width and y + side <= height
    ]
    patches = grid(Rect(100, 7, width, height), side, stride)
    assert [(p.x - 100, p.y - 7) for p in patches] == expected
    assert all((p.width, p.height) == (side, side) for p in patches)


def nearest(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))


@given(
    x=st.integers(-300, 1200),
    y=st.integers(-300, 900),
    w=st.integers(1, 1500),
    h=st.integers(1, 1500),
    shown=st.sampled_from([10, 20, 25, 39]),
    side=st.sampled_from([5, 64]),
)
def test_patches_of_a_region_lie_in_it(
    slide: Slide[Level], x: int, y: int, w: int, h: int, shown: int, side: int
) -> None:
    view = slide.at(shown)
    patches = slide.patches_in(Rect(x, y, w, h), view, side, side)
    assert all(p.is_inside(view.width, view.height) for p in patches)
    scale = (Fraction(view.width, 1000), Fraction(view.height, 700))
    left, right = max(0, nearest(x * scale[0])), min(view.width, nearest((x + w) * scale[0]))
    top, bottom = max(0, nearest(y * scale[1])), min(view.height, nearest((y + h) * scale[1]))
    if left >= right or top >= bottom:
        assert patches == []
        return
    assert len(patches) == max(1, (right - left) // side) * max(1, (bottom - top) // side)
    first = patches[0]
    for origin, start, end in ((first.x, left, right), (first.y, top, bottom)):
        if end - start >= side:
            assert origin == start
        else:
            assert origin <= start
            assert end <= origin + side
    if right - left >= side and bottom - top >= side:
        assert all(left <= p.x and p.x + side <= right for p in patches)
        assert all(top <= p.y and p.y + side <= bottom for p in patches)


def test_a_region_of_a_slide_smaller_than_a_patch_has_none() -> None:
    slide = slide_of(pyramid("explicit", [(300, 200)]))
    assert slide.patches_in(Rect(0, 0, 300, 200), slide.view(0), 224, 224) == []


def test_a_region_in_millimetres_is_one_in_pixels(slide: Slide[Level]) -> None:
    assert slide.region_of_mm(1.0, 2.0, 3.0, 1.5) == Rect(100, 200, 300, 150)
    assert slide.region_of_mm(0.3, 0.0949, 0.5051, 0.1) == Rect(30, 9, 51, 10)


def whole(slide: Slide[Level], series: MemorySeries, max_pixels: int = 1 << 26) -> UInt8Array:
    return slide.overview(opener().of_series(series, slide.levels), max_pixels)


def test_the_whole_slide_is_seen_in_the_smallest_level_that_shows_something(
    threads: ThreadPoolExecutor,
) -> None:
    built = BuiltSlide()
    for width, height in ((1344, 500), (672, 250), (336, 125)):
        pixels = stained(width, height).copy()
        pixels[:, width // 2 :] = (243, 241, 244)
        built.add_level(pixels, CODINGS["explicit"])
    slide, series = slide_of(built), MemorySeries(built, threads, waits())
    np.testing.assert_array_equal(whole(slide, series), built.instances[1].truth)
    assert {uid for uid, _ in series.asked} == {built.instances[1].uid}
    tissue = slide.tissue(opener().of_series(series, slide.levels), 1 << 26)
    patches = slide.view(0).grid(224, 224)
    assert {p.x for p in patches} == {0, 224, 448, 672, 896, 1120}
    assert tissue.where(patches, 0.1) == [p for p in patches if p.x < 672]
    half = slide.at(2 * 10_000 / 1344)
    assert {p.x for p in tissue.over(half.width, half.height).where(half.grid(112, 112), 0.1)} == {
        0,
        112,
        224,
    }
    with pytest.raises(OverviewTooLarge, match="672x250 pixels: too many"):
        whole(slide, series, max_pixels=672 * 250 - 1)


def test_a_view_is_a_level_as_it_is_stored_unless_it_is_resized(slide: Slide[Level]) -> None:
    level: Level = slide.levels[1]
    assert slide.view(1) == View(level, 1, 500, 350)
    assert View(level, 1, 400, 280).spacing == Spacing(25.0, 25.0)
