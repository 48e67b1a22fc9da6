from __future__ import annotations

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from pydicom.uid import ExplicitVRLittleEndian

from dicom_io.cache import FRAME_OVERHEAD, EncodedFrame, FrameCache, SharedCache
from dicom_io.codecs.frame import decode_frame
from dicom_io.codecs.frame_format import FrameError, FrameFormat


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_value_is_made_once_and_again_after_its_life() -> None:
    clock = Clock()
    cache: SharedCache[str, int] = SharedCache(10, 5.0, clock)
    made: list[int] = []

    def make() -> tuple[int, int]:
        made.append(len(made))
        return made[-1], 1

    assert [cache.get("a", make, 1) for _ in range(3)] == [0, 0, 0]
    clock.now = 5.1
    assert cache.get("a", make, 1) == 1


def test_the_least_recently_used_value_goes_first() -> None:
    cache: SharedCache[str, str] = SharedCache(10, 5.0)
    for key in ("a", "b"):
        cache.get(key, lambda key=key: (key, 5), 1)  # type: ignore[misc]
    cache.get("a", lambda: ("wrong", 5), 1)
    cache.get("c", lambda: ("c", 5), 1)
    assert cache.get("a", lambda: ("new", 5), 1) == "a"
    assert cache.get("b", lambda: ("new", 5), 1) == "new"
    assert cache.get("huge", lambda: ("huge", 11), 1) == "huge"
    assert cache.get("huge", lambda: ("again", 11), 1) == "again"


def test_many_who_want_the_same_value_share_one_maker() -> None:
    cache: SharedCache[str, int] = SharedCache(10, 5.0)
    started, go, made = threading.Event(), threading.Event(), []

    def make() -> tuple[int, int]:
        made.append(1)
        started.set()
        assert go.wait(10)
        return 7, 1

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(cache.get, "a", make, 10) for _ in range(8)]
        assert started.wait(10)
        go.set()
        assert [answer.result() for answer in answers] == [7] * 8
    assert made == [1]


def test_a_failure_is_not_kept_and_not_shared() -> None:
    cache: SharedCache[str, int] = SharedCache(10, 5.0)

    def fail() -> tuple[int, int]:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        cache.get("a", fail, 1)
    assert cache.get("a", lambda: (3, 1), 1) == 3


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


def test_the_frame_cache_is_bounded() -> None:
    cache: FrameCache[int] = FrameCache(4 * (24 + FRAME_OVERHEAD), decode_frame)
    cache.claim(list(range(10)), 24)
    assert len(cache._frames) == 4
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
    assert len(cache._frames) == 3, "three of 52 kB fit into 200 kB"
    assert sum(kept.cost for kept in cache._frames.values()) == cache._bytes
    for frame in frames:
        frame.pixels(FORM)
    assert all(frame.encoded_bytes == 0 for frame in frames)
    assert cache._bytes == 3 * (24 + FRAME_OVERHEAD)


def test_a_frame_that_could_not_be_fetched_counts_nothing_more() -> None:
    cache: FrameCache[int] = FrameCache(100_000, decode_frame)
    (frame,), _ = cache.claim([1], 24)
    frame.fetched.set_exception(FrameError("lost"))
    assert cache._bytes == 24 + FRAME_OVERHEAD
    cache.forget(1, frame)
    assert cache._bytes == 0


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
    assert list(cache._frames) == [99]


def test_values_whose_life_is_over_are_swept_when_another_is_made() -> None:
    clock = Clock()
    cache: SharedCache[int, bytes] = SharedCache(1000, 5.0, clock)
    for key in range(10):
        cache.get(key, lambda: (b"x", 1), 1)
    clock.now = 5.1
    cache.get(99, lambda: (b"x", 1), 1)
    assert list(cache._values) == [99]
    assert cache._cost == 1


def test_a_maker_that_fails_leaves_nothing_of_itself() -> None:
    class Large:
        pass

    cache: SharedCache[str, int] = SharedCache(10, 5.0)
    held: list[weakref.ref[Large]] = []

    def make() -> tuple[int, int]:
        large = Large()
        held.append(weakref.ref(large))
        raise FrameError("bad")

    gc.disable()
    try:
        with pytest.raises(FrameError):
            cache.get("a", make, 1)
        assert held[0]() is None
    finally:
        gc.enable()
