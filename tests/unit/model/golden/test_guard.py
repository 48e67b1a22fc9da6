"""An encoder is held to its golden vectors, in every size of batch and at every place in one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from model.batching import EncoderBroken
from model.encoder import EncoderFacts, PixelBatch, Vectors
from model.golden.comparison import Finding
from model.golden.guard import GuardedEncoder
from model.transport.client import EncoderClient
from model.transport.engine import IgnoreBatches
from model.transport.server import EncoderServer, listen
from model.transport.stream import EncoderDrifted, Stream
from tests.support.encoders import ProbeEncoder
from tests.support.golden import DIGEST, guard_of
from tests.support.service import wait_until


class Device:
    """A probe on a device that may break, in one of several ways."""

    def __init__(self, max_batch: int = 16, device: str = "CPU") -> None:
        self.facts: EncoderFacts = replace(ProbeEncoder.facts, max_batch=max_batch, device=device)
        self.sizes: list[int] = []
        self.broken = ""
        self.gate = threading.Event()
        self.gate.set()

    def embed(self, patches: PixelBatch) -> Vectors:
        """Map uint8 ``[n, 224, 224, 3]`` to float32 ``[n, 384]``."""
        self.sizes.append(len(patches))
        assert self.gate.wait(30)
        vectors = ProbeEncoder().embed(patches)
        if self.broken == "lane":
            vectors[:, 100] = 0
        if self.broken == "last row of large batches" and len(patches) > 8:
            vectors[-1] = vectors[0]
        if self.broken == "alone" and len(patches) == 1:
            vectors *= np.float32(1.01)
        if self.broken == "not a number":
            vectors[patches[:, 0, 0, 0] == patches[0, 0, 0, 0], 3] = np.nan
        if self.broken == "gone" or (self.broken == "bright" and patches.mean() > 100):
            raise RuntimeError("device lost")
        return vectors


@pytest.mark.parametrize(
    ("max_batch", "sizes"), [(1, [1] * 9), (3, [3, 3, 3, 1]), (8, [8, 1]), (16, [16, 1]), (20, [20, 1])]
)
def test_a_round_fills_the_largest_batches_and_runs_one_patch_alone(max_batch: int, sizes: list[int]) -> None:
    device = Device(max_batch)
    guard = guard_of(Device())
    for _ in range(9):
        device.sizes.clear()
        assert guard.whole_round(device).reproduced
        assert device.sizes == sizes


@pytest.mark.parametrize("broken", ["lane", "last row of large batches", "alone", "not a number", "bright"])
def test_every_way_to_break_is_found(broken: str) -> None:
    device, guard = Device(), guard_of(Device())
    assert guard.whole_round(device).reproduced
    device.broken = broken
    found = guard.whole_round(device)
    assert not found.reproduced
    assert found.patch in str(found)
    device.broken = ""
    assert guard.whole_round(device).reproduced


def test_a_device_that_embeds_nothing_is_broken_and_not_drifting() -> None:
    device, guard = Device(), guard_of(Device())
    device.broken = "gone"
    with pytest.raises(EncoderBroken):
        guard.whole_round(device)


def test_a_round_is_due_an_interval_after_the_last_one_and_a_batch_of_it_at_once() -> None:
    device, guard = Device(), guard_of(Device(), every_s=1000.0)
    assert guard.due < time.monotonic()
    assert guard.next_batch(device) is None
    assert guard.due < time.monotonic()
    assert guard.next_batch(device) is not None
    assert 900 < guard.due - time.monotonic() <= 1000


class Findings(IgnoreBatches):
    """Keeps what the checks of an encoder found."""

    def __init__(self) -> None:
        self.found: list[Finding] = []

    def golden(self, finding: Finding) -> None:
        """Keep it."""
        self.found.append(finding)

    def more_than(self, count: int) -> bool:
        """Return whether there are more findings than so many."""
        return len(self.found) > count


class Served:
    """A guarded encoder behind a socket, and a client of it."""

    def __init__(self, address: str, device: Device, every_s: float, last_words_s: float = 60.0) -> None:
        self.findings = Findings()
        guarded = GuardedEncoder(device, guard_of(Device(), every_s, last_words_s))
        self.server = EncoderServer(lambda: guarded, listen(address), observer=self.findings)
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        self.client = EncoderClient(address, streams=4, quota=64)
        self.client.start()
        wait_until(lambda: self.client.facts is not None, "the link")

    def _run(self) -> None:
        try:
            self.server.run()
        except BaseException as error:
            self.failure = error


@contextmanager
def served(
    tmp_path: Path, device: Device, every_s: float = 0.01, last_words_s: float = 60.0
) -> Iterator[Served]:
    one = Served(str(tmp_path / "socket"), device, every_s, last_words_s)
    try:
        yield one
    finally:
        device.gate.set()
        one.client.stop()
        one.server.stop()
        one.thread.join()


def submit(stream: Stream, count: int) -> None:
    slots = stream.acquire(count, time.monotonic() + 30)
    for slot in slots:
        stream.pixels(slot)[...] = slot
    stream.submit({slot: index for index, slot in enumerate(slots)})


@pytest.mark.parametrize("device", ["CPU", "GPU: none"])
def test_checks_and_requests_take_turns(tmp_path: Path, device: str) -> None:
    with served(tmp_path, Device(device=device)) as one:
        assert one.client.facts is not None
        assert one.client.facts.golden == DIGEST
        for _ in range(5):
            before = len(one.findings.found)
            stream = one.client.open_stream(40)
            submit(stream, 40)
            stream.wait(time.monotonic() + 30)
            assert not stream.failed
            stream.close()
            wait_until(partial(one.findings.more_than, before), "a check beside the load")
        assert all(finding.reproduced for finding in one.findings.found)
    assert one.failure is None


@pytest.mark.parametrize("device", ["CPU", "GPU: none"])
def test_a_device_that_breaks_gives_no_more_vectors_and_says_why(tmp_path: Path, device: str) -> None:
    broken = Device(device=device)
    with served(tmp_path, broken) as one:
        stream = one.client.open_stream(1)
        broken.broken = "lane"
        wait_until(lambda: bool(one.client.fault), "the drift")
        with pytest.raises(EncoderDrifted, match="8 of 8 golden patches are not reproduced"):
            submit(stream, 1)
        with pytest.raises(EncoderDrifted, match="8 of 8 golden patches are not reproduced"):
            one.client.open_stream(1)
        assert not one.client.healthy
        assert one.thread.is_alive(), "it says so for a while"
    assert one.failure is None, "it was stopped before it would have ended"


def test_vectors_that_came_before_a_drift_was_found_are_not_used(tmp_path: Path) -> None:
    device = Device()
    with served(tmp_path, device, every_s=0.2) as one:
        stream = one.client.open_stream(1)
        submit(stream, 1)
        stream.wait(time.monotonic() + 30)
        device.broken = "lane"
        wait_until(lambda: bool(one.client.fault), "the drift")
        with pytest.raises(EncoderDrifted):
            stream.wait(time.monotonic() + 30)


@pytest.mark.parametrize("kind", ["CPU", "GPU: none"])
def test_a_request_that_waits_when_a_drift_is_found_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    device = Device(device=kind)
    with served(tmp_path, device) as one:
        stream = one.client.open_stream(64)
        device.gate.clear()
        device.broken = "lane"
        submit(stream, 64)
        device.gate.set()
        wait_until(lambda: bool(one.client.fault), "the drift")
        with pytest.raises(EncoderDrifted):
            stream.wait(time.monotonic() + 30)
        stream.close()


def test_a_drifting_encoder_ends_for_a_fresh_one_and_is_spoken_of_until_that_is_there(tmp_path: Path) -> None:
    device = Device()
    device.broken = "lane"
    with served(tmp_path, device, last_words_s=0.05) as one:
        one.thread.join()
        assert isinstance(one.failure, EncoderBroken)
        wait_until(lambda: one.client.facts is None, "the link to end")
        with pytest.raises(EncoderDrifted, match="8 of 8 golden patches"):
            one.client.open_stream(1)
        fresh = EncoderServer(
            lambda: GuardedEncoder(Device(), guard_of(Device())), listen(str(tmp_path / "socket"))
        )
        thread = threading.Thread(target=fresh.run)
        thread.start()
        try:
            wait_until(lambda: one.client.healthy, "the fresh encoder")
            assert one.client.fault == ""
        finally:
            fresh.stop()
            thread.join()
