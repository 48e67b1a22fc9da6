"""Levels read through a series that is no store at all: what slides need of whoever has their instances."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from dicom_io.codecs.frame import decode_frame
from dicom_io.colour.profiles import IccTarget, target_profile
from dicom_io.colour.transforms import ColourTransforms
from dicom_io.errors import ImageCode, ImageError
from dicom_io.geometry import Patch
from dicom_io.reading import ReadOptions, read_here
from dicom_io.slides.frame_cache import FrameCache
from dicom_io.slides.frame_fetcher import FrameFetcher
from dicom_io.slides.opening import FramesOfSeries, LevelOpener
from dicom_io.slides.pyramid import select_level
from dicom_io.waiting import Cancellation
from tests.support.series import MemorySeries
from tests.support.slides import CODINGS, Slide, pyramid, stained
from tests.support.tissue import UInt8Array

PATCHES = [Patch(0, 0, 224, 224), Patch(251, 130, 300, 260), Patch(900, 600, 100, 100)]


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def waits() -> Cancellation:
    return Cancellation(time.monotonic() + 60)


def frame_cache() -> FrameCache[Hashable]:
    return FrameCache(1 << 26, decode_frame)


def opener(**changes: Any) -> LevelOpener:
    return replace(LevelOpener(frame_cache(), ColourTransforms(), 1 << 26, strict=True), **changes)


def read(
    series: MemorySeries,
    uids: Sequence[str],
    patches: Sequence[Patch],
    options: ReadOptions | None = None,
    opening: LevelOpener | None = None,
) -> list[UInt8Array]:
    opening, options = opening or opener(), options or ReadOptions()
    found = opening.find(series, uids, options.icc_target)
    return read_here(opening.open(series, found, options, lambda _: nullcontext()), patches)


@pytest.mark.parametrize("coding", ["explicit", "JPEG", "JPEG 2000 lossless"])
@pytest.mark.parametrize("parts", [1, 3])
def test_patches_are_the_pixels_of_their_level(threads: ThreadPoolExecutor, coding: str, parts: int) -> None:
    slide = Slide()
    slide.add_level(stained(1000, 700), CODINGS[coding], parts=parts)
    slide.add_level(stained(500, 350), CODINGS[coding])
    series = MemorySeries(slide, threads, waits())
    found = read(series, [slide.instances[parts - 1].uid], PATCHES)
    for patch, pixels in zip(PATCHES, found, strict=True):
        y, x = patch.y, patch.x
        truth = slide.instances[0].truth[y : y + patch.height, x : x + patch.width]
        np.testing.assert_allclose(pixels, truth, atol=CODINGS[coding].tolerance)
    assert {uid for uid, _ in series.asked} <= {i.uid for i in slide.instances[:parts]}


def test_a_level_shrunk_twice_averages_four_pixels(threads: ThreadPoolExecutor) -> None:
    slide = pyramid("explicit", [(1000, 700)])
    series = MemorySeries(slide, threads, waits())
    (half,) = read(
        series, [slide.instances[0].uid], [Patch(10, 20, 224, 224)], ReadOptions(image_dimensions=(500, 350))
    )
    truth = slide.instances[0].truth[40:488, 20:468].reshape(224, 2, 224, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(half, truth, atol=1)


def test_frames_are_fetched_once_for_callers_who_may_read_the_same(threads: ThreadPoolExecutor) -> None:
    slide, shared = pyramid("JPEG", [(1000, 700)]), opener()
    uids = [slide.instances[0].uid]
    first, again, other = (MemorySeries(slide, threads, waits(), key) for key in ("a", "a", "b"))
    everything = [Patch(0, 0, 1000, 700)]
    for series in (first, again, other):
        read(series, uids, everything, opening=shared)
    assert sorted(n for _, numbers in first.asked for n in numbers) == list(range(1, 13))
    assert again.asked == []
    assert sorted(n for _, numbers in other.asked for n in numbers) == list(range(1, 13))


def test_colours_are_transformed_from_the_profile_that_all_levels_have(threads: ThreadPoolExecutor) -> None:
    profile = target_profile(IccTarget.ADOBERGB)
    slide = pyramid("explicit", [(500, 350), (250, 175)], ICCProfile=profile + bytes(2))
    series = MemorySeries(slide, threads, waits())
    patch = Patch(0, 0, 224, 224)
    (pixels,) = read(series, [slide.instances[0].uid], [patch], ReadOptions(icc_target=IccTarget.SRGB))
    truth = ImageCms.profileToProfile(
        Image.fromarray(slide.instances[0].truth[:224, :224]),
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.ImageCmsProfile(io.BytesIO(target_profile(IccTarget.SRGB))),
        ImageCms.Intent.PERCEPTUAL,
    )
    np.testing.assert_allclose(pixels, np.asarray(truth), atol=1)


def test_levels_of_different_colours_are_refused_where_colours_matter(threads: ThreadPoolExecutor) -> None:
    slide = Slide()
    for size, target in (((500, 350), IccTarget.ADOBERGB), ((250, 175), IccTarget.SRGB)):
        slide.add_level(stained(*size), CODINGS["explicit"], ICCProfile=target_profile(target))
    series, uids = MemorySeries(slide, threads, waits()), [slide.instances[0].uid]
    assert opener().find(series, uids, IccTarget.NONE).icc_profile is None
    with pytest.raises(ImageError, match="different ICC profiles") as caught:
        opener().find(series, uids, IccTarget.SRGB)
    assert caught.value.code is ImageCode.DICOM_ERROR


def test_a_frame_that_is_too_large_is_refused_before_any_is_fetched(threads: ThreadPoolExecutor) -> None:
    slide = pyramid("explicit", [(500, 350)])
    series = MemorySeries(slide, threads, waits())
    with pytest.raises(ImageError, match="256x256 pixels is beyond"):
        read(series, [slide.instances[0].uid], PATCHES, opening=opener(max_pixels=256 * 256 - 1))
    assert series.asked == []


def test_who_waits_for_a_request_that_ends_asks_in_its_own_name(threads: ThreadPoolExecutor) -> None:
    slide, cache = pyramid("explicit", [(500, 350)]), frame_cache()
    begun, ended = threading.Event(), threading.Event()

    def hold(number: int) -> None:
        begun.set()
        assert ended.wait(30)

    level = select_level(
        MemorySeries(slide, threads, waits()).instances(), [slide.instances[0].uid], strict=True
    )
    held, second = (MemorySeries(slide, threads, waits()) for _ in range(2))
    held.before_frame = hold
    first, other = (FrameFetcher(FramesOfSeries(s, level), cache, level) for s in (held, second))
    first.plan([[0, 1]])
    assert begun.wait(30)
    other.plan([[0, 1]])
    assert second.asked == []
    first.close()
    ended.set()
    other.wait([0, 1])
    assert second.asked == [(slide.instances[0].uid, [1, 2])]
    np.testing.assert_array_equal(other.pixels(0), slide.instances[0].truth[:256, :256])
