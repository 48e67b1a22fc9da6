from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import wait

import pytest

from dicom_io.io_threads import IoThreads, run_together

DEADLINE_S = 30.0


@pytest.fixture
def io() -> Iterator[IoThreads]:
    threads = IoThreads(8)
    yield threads
    threads.shutdown(cancel_futures=True)


class Gate:
    """Functions that begin, are counted, and wait until they are let go."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.open = threading.Event()
        self._lock = threading.Lock()

    def hold(self, name: str) -> None:
        with self._lock:
            self.begun.append(name)
        self.open.wait(DEADLINE_S)


def test_an_origin_alone_has_half_of_the_threads_and_others_find_some(io: IoThreads) -> None:
    gate = Gate()
    greedy = [io.at("greedy").submit(gate.hold, "greedy") for _ in range(50)]
    assert io.at("other").submit(lambda: "served").result(DEADLINE_S) == "served"
    assert gate.begun.count("greedy") == 4
    more = [io.at("more").submit(gate.hold, "more") for _ in range(50)]
    assert io.at("other").submit(lambda: "served").result(DEADLINE_S) == "served"
    assert gate.begun.count("more") == 2
    gate.open.set()
    assert not wait(greedy + more, DEADLINE_S).not_done
    assert len(gate.begun) == 100


def test_what_waits_is_taken_up_by_turns() -> None:
    io, gate, order = IoThreads(1), Gate(), list[str]()
    first = io.at("a").submit(gate.hold, "a")
    futures = [io.at(name).submit(order.append, name) for name in "aaabbc"]
    gate.open.set()
    assert not wait([first, *futures], DEADLINE_S).not_done
    assert sorted(order[:3]) == ["a", "b", "c"]
    io.shutdown()


def test_what_is_cancelled_before_it_began_never_begins(io: IoThreads) -> None:
    gate = Gate()
    running = [io.at("a").submit(gate.hold, "a") for _ in range(4)]
    waiting = io.at("a").submit(gate.hold, "cancelled")
    assert waiting.cancel()
    gate.open.set()
    assert not wait(running, DEADLINE_S).not_done
    assert io.at("a").submit(lambda: 5).result(DEADLINE_S) == 5
    assert "cancelled" not in gate.begun


def test_a_failure_is_its_callers_and_frees_the_thread(io: IoThreads) -> None:
    def fail() -> None:
        raise ValueError("so it is")

    for _ in range(20):
        with pytest.raises(ValueError, match="so it is"):
            io.submit(fail).result(DEADLINE_S)


def test_many_things_are_done_together_in_order(io: IoThreads) -> None:
    meeting = threading.Barrier(4)

    def meet(number: int) -> int:
        meeting.wait(DEADLINE_S)  # nobody gets on unless four are here at once
        return number * number

    assert run_together(io.at("a"), meet, range(12)) == [n * n for n in range(12)]
    assert run_together(io.at("a"), meet, []) == []


def test_threads_that_are_all_taken_by_callers_do_their_work_themselves() -> None:
    io = IoThreads(2)
    everyone = threading.Barrier(2)

    def caller() -> list[int]:
        everyone.wait(DEADLINE_S)
        return run_together(io.at("inner"), lambda n: n + 1, range(20))

    futures = [io.at(name).submit(caller) for name in ("a", "b")]
    for future in futures:
        assert future.result(DEADLINE_S) == list(range(1, 21))
    io.shutdown()


def test_the_first_failure_of_many_is_raised_and_ends_the_rest(io: IoThreads) -> None:
    done = list[int]()

    def fail(number: int) -> None:
        done.append(number)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run_together(io.at("a"), fail, range(1000))
    assert len(done) <= 8
