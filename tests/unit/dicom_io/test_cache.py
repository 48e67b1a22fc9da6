from __future__ import annotations

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from dicom_io.cache import LeastRecentlyUsed, SharedCache


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


def test_values_whose_life_is_over_are_swept_when_another_is_made() -> None:
    clock = Clock()
    cache: SharedCache[int, bytes] = SharedCache(1000, 5.0, clock)
    for key in range(10):
        cache.get(key, lambda: (b"x", 1), 1)
    clock.now = 5.1
    cache.get(99, lambda: (b"x", 1), 1)
    assert len(cache._made) == 1
    assert cache._made.cost == 1


def test_a_maker_that_fails_leaves_nothing_of_itself() -> None:
    class Large:
        pass

    cache: SharedCache[str, int] = SharedCache(10, 5.0)
    held: list[weakref.ref[Large]] = []

    def make() -> tuple[int, int]:
        large = Large()
        held.append(weakref.ref(large))
        raise LookupError("bad")

    gc.disable()
    try:
        with pytest.raises(LookupError):
            cache.get("a", make, 1)
        assert held[0]() is None
    finally:
        gc.enable()


def test_a_value_that_is_used_lives_no_longer_for_it() -> None:
    clock = Clock()
    kept: LeastRecentlyUsed[str, str] = LeastRecentlyUsed(10, 5.0, clock)
    kept.put("a", "value", 1)
    for now in (2.0, 4.0, 5.0):
        clock.now = now
        assert kept.get("a") == "value"
    clock.now = 5.1
    assert kept.get("a") is None
    assert (len(kept), kept.cost) == (0, 0)


def test_a_cost_is_corrected_only_while_its_value_is_there() -> None:
    kept: LeastRecentlyUsed[str, list[int]] = LeastRecentlyUsed(10, 5.0)
    first, second = [1], [2]
    kept.put("a", first, 3)
    kept.put("a", second, 4)
    kept.recount("a", first, 9)
    kept.drop("a", first)
    assert kept.cost == 4
    kept.put("b", [3], 5)
    kept.recount("a", second, 6)
    assert kept.get("a") is None, "the least recently used one makes room for its own growth"
    assert kept.cost == 5


def test_one_that_is_larger_than_everything_stays_until_the_next() -> None:
    kept: LeastRecentlyUsed[str, str] = LeastRecentlyUsed(10, 5.0)
    kept.put("large", "x", 50)
    assert kept.get("large") == "x"
    kept.put("small", "y", 1)
    assert kept.get("large") is None
    assert kept.get("small") == "y"
