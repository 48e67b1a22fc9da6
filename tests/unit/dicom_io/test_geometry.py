from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_io.errors import ImageCode, ImageError
from dicom_io.geometry import CMYK_BLACK, Patch, Rect, crop, require_inside
from dicom_io.resampling import resize
from tests.support.tissue import tissue


@given(
    st.integers(-30, 60),
    st.integers(-30, 60),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([1, 3, 4]),
)
def test_a_crop_is_the_image_with_black_around_it(
    x: int, y: int, width: int, height: int, channels: int
) -> None:
    pixels = np.random.RandomState(1).randint(0, 256, (25, 31, channels)).astype(np.uint8)
    framed = np.zeros((25 + 200, 31 + 200, channels), np.uint8)
    framed[:] = CMYK_BLACK if channels == 4 else 0
    framed[100:125, 100:131] = pixels
    expected = framed[100 + y : 100 + y + height, 100 + x : 100 + x + width]
    np.testing.assert_array_equal(crop(pixels, Patch(x, y, width, height)), expected)


def test_a_crop_far_outside_is_black() -> None:
    assert not crop(tissue(), Patch(2**62, -(2**62), 224, 224)).any()


def test_a_patch_must_lie_inside() -> None:
    require_inside(Patch(0, 0, 224, 224), 224, 224)
    for patch in (Patch(1, 0, 224, 224), Patch(0, -1, 224, 224), Patch(2**62, 0, 224, 224)):
        with pytest.raises(ImageError) as caught:
            require_inside(patch, 224, 224)
        assert caught.value.code is ImageCode.PATCH_OUTSIDE_OF_IMAGE_DIMENSIONS_ERROR


def test_shrinking_by_an_integer_is_the_mean_of_blocks() -> None:
    image = tissue(512, 256)
    means = image.reshape(64, 4, 128, 4, 3).mean(axis=(1, 3))
    assert np.abs(resize(image, 128, 64) - means).max() <= 0.5


def test_the_same_size_is_the_same_image() -> None:
    assert resize(tissue(), 512, 512) is tissue()


def test_enlarging_keeps_a_flat_image_flat_and_means_alike() -> None:
    flat = np.full((10, 12, 3), 77, np.uint8)
    assert (resize(flat, 50, 40) == 77).all()
    assert abs(resize(tissue(), 1024, 1024).mean() - tissue().mean()) < 0.5


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_any_number_of_channels_can_be_resized_both_ways(channels: int) -> None:
    pixels = np.random.RandomState(2).randint(0, 256, (30, 40, channels)).astype(np.uint8)
    assert resize(pixels, 20, 60).shape == (60, 20, channels)


rects = st.builds(Rect, st.integers(-9, 9), st.integers(-9, 9), st.integers(0, 9), st.integers(0, 9))


def pixels_of(rect: Rect) -> set[tuple[int, int]]:
    return {(x, y) for x in range(rect.x, rect.right) for y in range(rect.y, rect.bottom)}


@given(rects, rects)
def test_an_intersection_has_the_pixels_that_both_have(one: Rect, other: Rect) -> None:
    common = one.intersection(other)
    assert (set[tuple[int, int]]() if common is None else pixels_of(common)) == pixels_of(one) & pixels_of(
        other
    )
    if common is not None:
        grid = np.arange(one.width * one.height).reshape(one.height, one.width)
        rows, columns = common.within(one)
        assert grid[rows, columns].shape == (common.height, common.width)
        assert grid[rows, columns][0, 0] == (common.y - one.y) * one.width + common.x - one.x


@given(rects, st.integers(1, 9), st.integers(1, 9))
def test_what_is_clipped_is_inside_of_the_image(rect: Rect, width: int, height: int) -> None:
    image = pixels_of(Rect(0, 0, width, height))
    clipped = rect.clip(width, height)
    assert (set[tuple[int, int]]() if clipped is None else pixels_of(clipped)) == pixels_of(rect) & image
    if rect.width and rect.height:
        assert rect.is_inside(width, height) == (clipped == rect)
