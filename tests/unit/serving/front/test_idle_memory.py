"""When a worker gives memory back."""

from __future__ import annotations

import subprocess
import sys

import pytest

from serving.front.idle_memory import IDLE_S, IdleMemory
from tests.support.front import Front, post


def test_memory_is_given_back_once_after_each_busy_time() -> None:
    given: list[float] = []
    clock = [0.0]
    memory = IdleMemory(lambda: given.append(clock[0]))
    for now, worked in [(0.0, False), (100.0, False), (101.0, True), (101.0 + IDLE_S, False)]:
        clock[0] = now
        if worked:
            memory.note_work(now)
        memory.look(now)
    assert given == []
    for now in (102.0 + IDLE_S, 200.0, 300.0):
        clock[0] = now
        memory.look(now)
    assert given == [102.0 + IDLE_S]
    memory.note_work(300.0)
    clock[0] = 400.0
    memory.look(400.0)
    assert given == [102.0 + IDLE_S, 400.0]


def test_work_that_goes_on_keeps_its_memory() -> None:
    given: list[None] = []
    memory = IdleMemory(lambda: given.append(None))
    for step in range(100):
        memory.note_work(step * IDLE_S / 2)
        memory.look(step * IDLE_S / 2)
    assert given == []


def test_probes_of_health_do_not_keep_a_worker_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[float] = []
    monkeypatch.setattr(IdleMemory, "note_work", lambda _, now: noted.append(now))
    with Front() as front:
        for _ in range(3):
            answer = front.ask(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200")
        assert noted == []
        assert front.ask(post(b"{}")).startswith(b"HTTP/1.1 200")
        assert noted


def test_what_was_freed_goes_back_to_the_system() -> None:
    code = """
import psutil
from serving.front.idle_memory import give_back_free_memory
held = [b"x" * (100_000 + number) for number in range(1_000)]
kept = held[::100]  # so that what is free lies in the middle of the heap, too
full = psutil.Process().memory_info().rss
del held
give_back_free_memory()
print(full - psutil.Process().memory_info().rss)
"""
    environment = {"MALLOC_MMAP_THRESHOLD_": str(16 << 20), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert int(run.stdout) > 90_000_000
