from __future__ import annotations

import threading

import pytest

from serving.pipeline.executors import STUCK_S, WatchedThreads


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_threads_are_alive_until_every_one_has_been_at_its_task_for_too_long() -> None:
    clock, done = Clock(), threading.Event()
    threads = WatchedThreads(2, "test", clock)
    started = [threading.Event(), threading.Event()]

    def alive() -> bool:
        return threads.alive

    def stuck(number: int) -> bool:
        started[number].set()
        return done.wait(30)

    first = threads.submit(stuck, 0)
    assert started[0].wait(10)
    clock.now = STUCK_S + 1
    assert alive(), "one is idle"
    second = threads.submit(stuck, 1)
    assert started[1].wait(10)
    assert alive(), "the other has only begun"
    clock.now = 2 * STUCK_S + 2
    assert not alive()
    done.set()
    assert first.result(10)
    assert second.result(10)
    assert alive()


def test_a_task_that_fails_is_over() -> None:
    clock = Clock()
    threads = WatchedThreads(1, "test", clock)
    with pytest.raises(ZeroDivisionError):
        threads.submit(lambda: 1 // 0).result(10)
    clock.now = STUCK_S + 1
    assert threads.alive
