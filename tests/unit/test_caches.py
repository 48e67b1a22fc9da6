from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from dicom_io.caches import EncodedFrame, FrameCache, SharedCache
from dicom_io.frames import EXPLICIT_LE, FrameError, FrameFormat


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
    cache: FrameCache[str] = FrameCache(1000)
    (frame, other), mine = cache.claim(["a", "b"], 24)
    assert mine == [0, 1]
    (again,), none = cache.claim(["a"], 24)
    assert again is frame
    assert none == []
    frame.fetched.set_result(EncodedFrame(bytes(range(24)), EXPLICIT_LE))
    pixels = frame.pixels(FORM)
    assert pixels is again.pixels(FORM)
    np.testing.assert_array_equal(pixels.ravel(), np.arange(24))
    other.fetched.set_result(EncodedFrame(b"short", EXPLICIT_LE))
    with pytest.raises(FrameError):
        other.pixels(FORM)
    cache.forget("b", other)
    assert cache.claim(["b"], 24)[1] == [0]


def test_the_frame_cache_is_bounded() -> None:
    cache: FrameCache[int] = FrameCache(100)
    cache.claim(list(range(10)), 24)
    assert cache._bytes <= 100
    assert cache.claim([9], 24)[1] == []
    assert cache.claim([0], 24)[1] == [0]
