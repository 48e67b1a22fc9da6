from __future__ import annotations

import sys
import threading

import numpy as np
import pytest
from pydicom.uid import ExplicitVRLittleEndian

from dicom_io.codecs.frame import decode_frame
from dicom_io.codecs.frame_format import FrameError, FrameFormat
from dicom_io.geometry import UInt8Array
from dicom_io.slides.frame_cache import FRAME_OVERHEAD, EncodedFrame, FrameCache, SharedFrame
from tests.unit.dicom_io.test_cache import Clock

FORM = FrameFormat(4, 2, 3, "RGB", 0)


def test_a_frame_is_claimed_once_and_decoded_once() -> None:
    cache: FrameCache[str] = FrameCache(10_000, decode_frame)
    (frame, other), mine = cache.claim(["a", "b"], 24)
    assert mine == [0, 1]
    (again,), none = cache.claim(["a"], 24)
    assert again is frame
    assert none == []
    frame.fetched.set_result(EncodedFrame(bytes(range(24)), ExplicitVRLittleEndian))
    pixels = frame.pixels(FORM)
    assert pixels is again.pixels(FORM)
    np.testing.assert_array_equal(pixels.ravel(), np.arange(24))
    other.fetched.set_result(EncodedFrame(b"short", ExplicitVRLittleEndian))
    with pytest.raises(FrameError):
        other.pixels(FORM)
    cache.forget("b", other)
    assert cache.claim(["b"], 24)[1] == [0]


def test_a_frame_that_cannot_be_decoded_is_tried_once_for_all_patches_that_touch_it() -> None:
    tried = []

    def broken(*frame: object) -> UInt8Array:
        tried.append(frame)
        raise FrameError("its data end early")

    cache: FrameCache[str] = FrameCache(10_000, broken)
    (frame,), _ = cache.claim(["a"], 24)
    frame.fetched.set_result(EncodedFrame(b"", ExplicitVRLittleEndian))
    for _ in range(3):
        with pytest.raises(FrameError, match="its data end early"):
            frame.pixels(FORM)
    assert len(tried) == 1


def test_the_frame_cache_is_bounded() -> None:
    cache: FrameCache[int] = FrameCache(4 * (24 + FRAME_OVERHEAD), decode_frame)
    cache.claim(list(range(10)), 24)
    assert len(cache) == 4
    assert cache.claim([9], 24)[1] == []
    assert cache.claim([0], 24)[1] == [0]


def test_encoded_bytes_count_until_the_frame_is_decoded_and_are_let_go_of_then() -> None:
    padded = bytes(range(24)) + bytes(50_000)
    cache: FrameCache[int] = FrameCache(
        200_000, lambda data, syntax, form: decode_frame(data[:24], syntax, form)
    )
    frames, _ = cache.claim(list(range(8)), 24)
    for frame in frames:
        frame.fetched.set_result(EncodedFrame(padded, ExplicitVRLittleEndian))
    assert len(cache) == 3, "three of 52 kB fit into 200 kB"
    assert cache.held_bytes == 3 * (24 + FRAME_OVERHEAD + len(padded))
    for frame in frames:
        frame.pixels(FORM)
    assert all(frame.encoded_bytes == 0 for frame in frames)
    assert cache.held_bytes == 3 * (24 + FRAME_OVERHEAD)


def test_a_frame_that_could_not_be_fetched_counts_nothing_more() -> None:
    cache: FrameCache[int] = FrameCache(100_000, decode_frame)
    (frame,), _ = cache.claim([1], 24)
    frame.fetched.set_exception(FrameError("lost"))
    assert cache.held_bytes == 24 + FRAME_OVERHEAD
    cache.forget(1, frame)
    assert cache.held_bytes == 0


def test_a_frame_has_a_life_after_which_it_is_fetched_again() -> None:
    clock = Clock()
    cache: FrameCache[int] = FrameCache(100_000, decode_frame, life_s=60.0, clock=clock)
    (first,), _ = cache.claim([1], 24)
    clock.now = 59.0
    assert cache.claim([1], 24)[0] == [first]
    clock.now = 61.0
    (second,), mine = cache.claim([1], 24)
    assert mine == [0]
    assert second is not first


def test_frames_that_nobody_asks_for_any_more_are_swept() -> None:
    clock = Clock()
    cache: FrameCache[int] = FrameCache(1_000_000, decode_frame, life_s=60.0, clock=clock)
    cache.claim(list(range(20)), 24)
    clock.now = 61.0
    cache.claim([99], 24)
    assert len(cache) == 1
    assert cache.claim([99], 24)[1] == []


def test_making_room_drops_no_frame_that_is_claimed_beside_the_new_one() -> None:
    cache: FrameCache[int] = FrameCache(2 * (24 + FRAME_OVERHEAD), decode_frame)
    cache.claim([1, 2], 24)
    frames, mine = cache.claim([3, 1], 24)
    assert mine == [0]
    assert cache.claim([1], 24) == ([frames[1]], [])


def test_a_frame_that_was_fetched_is_so_at_every_moment() -> None:
    """Whoever fetched for another request looks at it while it is decoded, and gives up what has not come."""
    frames = [SharedFrame(decode_frame, lambda _: None) for _ in range(3000)]
    for frame in frames:
        frame.fetched.set_result(EncodedFrame(bytes(24), ExplicitVRLittleEndian))
    ended = threading.Event()
    lost = 0

    def look() -> None:
        nonlocal lost
        while not ended.is_set():
            lost += sum(not frame.fetched.done() for frame in frames)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        for frame in frames:
            frame.pixels(FORM)
    finally:
        ended.set()
        watcher.join()
        sys.setswitchinterval(interval)
    assert lost == 0
