"""The way of a patch from a client to the encoder and back, over a real socket and a real slab."""

from __future__ import annotations

import os
import random
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.batching import EncoderBroken
from model.encoder import Encoder, ModelError
from model.transport import wire
from model.transport.client import EncoderClient
from model.transport.local import encoder_in_process
from model.transport.server import EncoderServer, listen
from model.transport.slab import create_slab, slab_bytes
from model.transport.stream import DeadlineExceeded, EncoderUnavailable, Stream
from tests.support.encoders import DIMENSION, CornerEncoder
from tests.support.service import wait_until


@pytest.fixture(params=["CPU", "GPU: none"])
def encoder(request: pytest.FixtureRequest) -> CornerEncoder:
    """Return an encoder in whose turn batches are gathered, and one beside which they are."""
    return CornerEncoder(device=request.param)


@pytest.fixture
def client(encoder: CornerEncoder) -> Iterator[EncoderClient]:
    with encoder_in_process(lambda: encoder, streams=4, quota=6) as linked:
        wait_until(lambda: linked.healthy, "the link")
        yield linked
        encoder.gate.set()


AT_ONCE = 4
"""Patches that are sent together: no stream here has a smaller quota."""


def soon(seconds: float = 20.0) -> float:
    return time.monotonic() + seconds


def signature(request: int, index: int) -> list[int]:
    return [index % 251, index // 251, request % 251, 7]


def send(stream: Stream, request: int, first: int, count: int) -> None:
    """Send patches that carry their request's and their own number."""
    sent = 0
    while sent < count:
        slots = stream.acquire(min(count - sent, AT_ONCE), soon())
        for offset, slot in enumerate(slots):
            stream.pixels(slot).reshape(-1)[:DIMENSION] = signature(request, first + sent + offset)
        stream.submit({slot: first + sent + i for i, slot in enumerate(slots)})
        sent += len(slots)


def expected(request: int, count: int) -> np.ndarray:
    return np.array([signature(request, index) for index in range(count)], np.float32)


def test_every_vector_comes_back_to_its_patch(client: EncoderClient) -> None:
    stream = client.open_stream(100)
    send(stream, 1, 0, 100)
    stream.wait(soon())
    np.testing.assert_array_equal(stream.vectors, expected(1, 100))
    assert not stream.failed
    stream.close()


def test_many_requests_at_once_never_swap_vectors(client: EncoderClient) -> None:
    faults: list[str] = []

    def request(number: int) -> None:
        random_numbers = random.Random(number)
        for _ in range(10):
            count = random_numbers.randint(1, 60)
            stream = client.open_stream(count)
            send(stream, number, 0, count)
            stream.wait(soon())
            if not np.array_equal(stream.vectors, expected(number, count)):
                faults.append(f"request {number}")
            stream.close()

    threads = [threading.Thread(target=request, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert faults == []


def test_a_poisonous_patch_fails_alone(client: EncoderClient) -> None:
    stream = client.open_stream(12)
    slots = stream.acquire(6, soon())
    for index, slot in enumerate(slots):
        stream.pixels(slot).reshape(-1)[:DIMENSION] = [255 if index == 3 else index, 0, 1, 7]
    stream.submit({slot: index for index, slot in enumerate(slots)})
    stream.wait(soon())
    assert stream.failed == {3}
    good = [0, 1, 2, 4, 5]
    np.testing.assert_array_equal(stream.vectors[good, 0], good)
    stream.close()


def test_a_stream_never_owns_more_than_its_quota(client: EncoderClient, encoder: CornerEncoder) -> None:
    encoder.gate.clear()
    stream = client.open_stream(50)
    slots = stream.acquire(6, soon())
    with pytest.raises(DeadlineExceeded):
        stream.acquire(1, time.monotonic())
    other = client.open_stream(1)
    assert len(other.acquire(1, soon())) == 1
    stream.release(slots)
    assert len(stream.acquire(6, soon())) == 6
    with pytest.raises(ValueError, match="7 slots of a quota of 6"):
        stream.acquire(7, soon())


def test_slots_come_back_by_closing_and_make_room_when_they_are_done(client: EncoderClient) -> None:
    for _ in range(30):  # more often than the slab has slots
        abandoned = client.open_stream(4)
        abandoned.submit({slot: index for index, slot in enumerate(abandoned.acquire(4, soon()))})
        abandoned.close()
    full = client.open_stream(12)
    for index in range(12):  # twice the quota
        (slot,) = full.acquire(1, soon())
        full.pixels(slot).reshape(-1)[:DIMENSION] = signature(2, index)
        full.submit({slot: index})
    full.wait(soon())
    np.testing.assert_array_equal(full.vectors, expected(2, 12))
    full.close()


def test_slots_that_are_written_when_their_stream_is_closed_come_back_afterwards(
    client: EncoderClient, encoder: CornerEncoder
) -> None:
    for _ in range(30):  # more often than the slab has slots
        closed = client.open_stream(6)
        written, unwritten = closed.acquire(3, soon()), closed.acquire(3, soon())
        closed.close()
        closed.submit({slot: index for index, slot in enumerate(written)})
        closed.release(unwritten)
    assert encoder.sizes == [], "nobody waits for them"
    stream = client.open_stream(6)
    send(stream, 1, 0, 6)
    stream.wait(soon())
    np.testing.assert_array_equal(stream.vectors, expected(1, 6))
    stream.close()


def test_several_threads_submit_to_one_stream(client: EncoderClient) -> None:
    stream = client.open_stream(60)

    def write(slots: list[int], first: int) -> None:
        for index, slot in enumerate(slots):
            stream.pixels(slot).reshape(-1)[:DIMENSION] = signature(1, first + index)
        stream.submit({slot: first + index for index, slot in enumerate(slots)})

    with ThreadPoolExecutor(4) as threads:
        written = [threads.submit(write, stream.acquire(3, soon()), first) for first in range(0, 60, 3)]
        for future in written:
            future.result(10)
    stream.wait(soon())
    np.testing.assert_array_equal(stream.vectors, expected(1, 60))
    stream.close()


def test_batches_mix_requests_fairly(client: EncoderClient, encoder: CornerEncoder) -> None:
    encoder.gate.clear()
    large, small = client.open_stream(6), client.open_stream(1)
    send(large, 1, 0, 6)
    assert encoder.running.wait(10)
    send(small, 2, 0, 1)
    encoder.gate.set()
    small.wait(soon())
    large.wait(soon())
    assert sum(encoder.sizes) == 7
    assert set(encoder.sizes) <= {1, 2, 4, 8}


def test_a_closed_stream_gives_its_slots_back(client: EncoderClient, encoder: CornerEncoder) -> None:
    encoder.gate.clear()
    for number in range(4):
        send(stream := client.open_stream(6), number, 0, 6)
        stream.close()
    encoder.gate.set()
    for number in range(4):
        stream = client.open_stream(30)
        send(stream, number, 0, 30)
        stream.wait(soon())
        np.testing.assert_array_equal(stream.vectors, expected(number, 30))
        stream.close()
    assert sum(encoder.sizes) < 4 * 6 + 120 + 1


def test_a_deadline_ends_the_wait(client: EncoderClient, encoder: CornerEncoder) -> None:
    encoder.gate.clear()
    stream = client.open_stream(3)
    send(stream, 1, 0, 3)
    with pytest.raises(DeadlineExceeded):
        stream.wait(time.monotonic())
    stream.close()


def test_before_there_is_an_encoder_requests_are_refused(tmp_path: Path) -> None:
    client = EncoderClient(str(tmp_path / "nobody"), streams=1, quota=1)
    client.start()
    assert not client.healthy
    assert client.facts is None
    with pytest.raises(EncoderUnavailable):
        client.open_stream(1)
    client.stop()


def serve(address: str, encoder: Encoder) -> tuple[EncoderServer, threading.Thread]:
    server = EncoderServer(lambda: encoder, listen(address))
    thread = threading.Thread(target=server.run)
    thread.start()
    return server, thread


def test_requests_in_flight_fail_when_the_encoder_goes_and_its_successor_is_used(tmp_path: Path) -> None:
    address = str(tmp_path / "socket")
    first = CornerEncoder()
    server, thread = serve(address, first)
    client = EncoderClient(address, streams=2, quota=4)
    client.start()
    try:
        wait_until(lambda: client.healthy, "the first link")
        first.gate.clear()
        prepared = client.open_stream(1)
        (ready,) = prepared.acquire(1, soon())
        stream = client.open_stream(4)
        send(stream, 1, 0, 4)
        assert first.running.wait(10)
        server.stop()
        with pytest.raises(EncoderUnavailable):
            stream.wait(soon())
        with pytest.raises(EncoderUnavailable):
            stream.acquire(1, soon())
        stream.close()
        with pytest.raises(EncoderUnavailable):
            prepared.submit({ready: 0})  # or its row, never written, would be taken for a vector
        prepared.close()
        first.gate.set()
        thread.join(20)

        server, thread = serve(address, CornerEncoder())
        wait_until(lambda: client.healthy, "the second link")
        stream = client.open_stream(9)
        send(stream, 2, 0, 9)
        stream.wait(soon())
        np.testing.assert_array_equal(stream.vectors, expected(2, 9))
    finally:
        first.gate.set()
        client.stop()
        server.stop()
        thread.join(20)


def test_a_client_that_dies_leaves_nothing_behind(tmp_path: Path) -> None:
    address = str(tmp_path / "socket")
    encoder = CornerEncoder()
    server, thread = serve(address, encoder)
    try:
        doomed = EncoderClient(address, streams=2, quota=8)
        doomed.start()
        wait_until(lambda: doomed.healthy, "the link")
        encoder.gate.clear()
        stream = doomed.open_stream(8)
        send(stream, 1, 0, 8)
        assert encoder.running.wait(10)
        doomed.stop()
        encoder.gate.set()

        survivor = EncoderClient(address, streams=1, quota=4)
        survivor.start()
        wait_until(lambda: survivor.healthy, "the survivor's link")
        stream = survivor.open_stream(5)
        send(stream, 3, 0, 5)
        stream.wait(soon())
        np.testing.assert_array_equal(stream.vectors, expected(3, 5))
        survivor.stop()
    finally:
        encoder.gate.set()
        server.stop()
        thread.join(20)


@pytest.mark.parametrize(
    "packets",
    [
        [b"nonsense"],
        [wire.encode(wire.Status(0.0))],
        [wire.encode(wire.Submit(1, (0,)))],
        [wire.encode(wire.Attach(3))],
        [wire.encode(wire.Cancel(5)), b"\x09"],
    ],
)
def test_a_client_that_sends_nonsense_is_cut_off_and_others_go_on(
    client: EncoderClient, packets: list[bytes]
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as rogue:
        rogue.settimeout(10)
        rogue.connect(client._address)
        assert isinstance(wire.decode(rogue.recv(wire.MAX_PACKET)), wire.Hello)
        for packet in packets:
            rogue.send(packet)
        while rogue.recv(wire.MAX_PACKET):
            pass
    stream = client.open_stream(3)
    send(stream, 1, 0, 3)
    stream.wait(soon())
    np.testing.assert_array_equal(stream.vectors, expected(1, 3))


def test_a_client_whose_memory_could_shrink_is_cut_off_and_others_go_on(client: EncoderClient) -> None:
    fd = os.memfd_create("hostile", os.MFD_CLOEXEC)
    os.ftruncate(fd, slab_bytes(8, DIMENSION))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as rogue:
        rogue.settimeout(10)
        rogue.connect(client._address)
        rogue.recv(wire.MAX_PACKET)
        socket.send_fds(rogue, [wire.encode(wire.Attach(8))], [fd])
        deadline = soon(5)
        while rogue.recv(wire.MAX_PACKET):
            assert time.monotonic() < deadline, "the memory was accepted"
    os.ftruncate(fd, 0)  # would now end whoever has mapped it
    os.close(fd)
    stream = client.open_stream(3)
    send(stream, 1, 0, 3)
    stream.wait(soon())
    np.testing.assert_array_equal(stream.vectors, expected(1, 3))


def test_a_client_that_attaches_a_smaller_slab_is_cut_off_and_others_go_on(
    client: EncoderClient, encoder: CornerEncoder
) -> None:
    """Its queued slots were checked against the first slab: in the second there is no such memory."""
    encoder.gate.clear()
    ours = client.open_stream(1)
    send(ours, 1, 0, 1)
    assert encoder.running.wait(10)  # so what follows is queued
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as rogue:
        rogue.settimeout(10)
        rogue.connect(client._address)
        rogue.recv(wire.MAX_PACKET)
        for slots in (8, 1):
            slab = create_slab(slots, DIMENSION)
            socket.send_fds(rogue, [wire.encode(wire.Attach(slots))], [slab.fd])
            slab.close_fd()
            if slots == 8:
                rogue.send(wire.encode(wire.Submit(1, (7,))))
        deadline = soon(5)
        while rogue.recv(wire.MAX_PACKET):
            assert time.monotonic() < deadline, "the second slab was accepted"
    encoder.gate.set()
    ours.wait(soon())
    np.testing.assert_array_equal(ours.vectors, expected(1, 1))
    send(after := client.open_stream(3), 2, 0, 3)
    after.wait(soon())
    np.testing.assert_array_equal(after.vectors, expected(2, 3))


def test_a_model_that_cannot_be_loaded_ends_the_server(tmp_path: Path) -> None:
    def load() -> Encoder:
        raise ModelError("no such model")

    with pytest.raises(ModelError, match="no such model"):
        EncoderServer(load, listen(str(tmp_path / "socket"))).run()


def test_to_stop_a_server_that_has_ended_touches_no_file_of_others(tmp_path: Path) -> None:
    server, thread = serve(str(tmp_path / "socket"), CornerEncoder())
    server.stop()
    thread.join(20)
    others = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(20)]  # these take the numbers that became free
    try:
        server.stop()
        for fd in others:
            with pytest.raises(BlockingIOError):
                os.eventfd_read(fd)
    finally:
        for fd in others:
            os.close(fd)


@pytest.mark.parametrize("device", ["CPU", "GPU: none"])
def test_an_encoder_that_embeds_nothing_any_more_ends_and_blames_no_patch(
    tmp_path: Path, device: str
) -> None:
    encoder = CornerEncoder(device=device)
    embed, broken = encoder.embed, threading.Event()

    def out_of_memory(patches: np.ndarray) -> np.ndarray:
        if broken.is_set():
            raise MemoryError
        return embed(patches)

    encoder.embed = out_of_memory  # type: ignore[method-assign]
    server = EncoderServer(lambda: encoder, listen(str(tmp_path / "socket")))
    ended: list[BaseException] = []

    def run() -> None:
        try:
            server.run()
        except EncoderBroken as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    client = EncoderClient(str(tmp_path / "socket"), streams=1, quota=4)
    client.start()
    try:
        wait_until(lambda: client.healthy, "the link")
        stream = client.open_stream(2)
        send(stream, 1, 0, 2)
        stream.wait(soon())
        assert not stream.failed
        broken.set()
        stream = client.open_stream(2)
        send(stream, 2, 0, 2)
        with pytest.raises(EncoderUnavailable):
            stream.wait(soon())
        thread.join(20)
        assert "MemoryError" in str(ended[0])
    finally:
        client.stop()
        server.stop()
        thread.join(20)


class _Dies(BaseException):
    """Ends the encoder's thread as a crash would."""


@pytest.mark.parametrize("fatal_batch", range(6))
@pytest.mark.parametrize("device", ["CPU", "GPU: none"])
def test_whenever_the_encoder_dies_nobody_hangs_and_no_vector_is_wrong(
    tmp_path: Path, fatal_batch: int, device: str
) -> None:
    """The encoder dies at its n-th batch under several requests; its successor serves the next ones."""
    address = str(tmp_path / "socket")
    encoder = CornerEncoder(max_batch=4, device=device)
    embed, batches = encoder.embed, iter(range(1000))

    def dying(patches: np.ndarray) -> np.ndarray:
        if next(batches) == fatal_batch:
            raise _Dies
        return embed(patches)

    encoder.embed = dying  # type: ignore[method-assign]
    server = EncoderServer(lambda: encoder, listen(address))
    ended = threading.Event()

    def run() -> None:
        with pytest.raises(_Dies):
            server.run()
        ended.set()

    thread = threading.Thread(target=run)
    thread.start()
    client = EncoderClient(address, streams=4, quota=4)
    client.start()
    outcomes: list[str] = []

    def request(number: int) -> None:
        try:
            stream = client.open_stream(20)
            try:
                send(stream, number, 0, 20)
                stream.wait(soon())
                right = np.array_equal(stream.vectors, expected(number, 20))
                outcomes.append("right" if right else "WRONG")
            finally:
                stream.close()
        except EncoderUnavailable:
            outcomes.append("unavailable")

    try:
        wait_until(lambda: client.healthy, "the link")
        threads = [threading.Thread(target=request, args=(number,)) for number in range(3)]
        for one in threads:
            one.start()
        for one in threads:
            one.join(30)
        assert len(outcomes) == 3
        assert set(outcomes) <= {"right", "unavailable"}
        assert ended.wait(20)
        successor, second = serve(address, CornerEncoder())
        wait_until(lambda: client.healthy, "the successor")
        request(9)
        assert outcomes[-1] == "right"
        successor.stop()
        second.join(20)
    finally:
        client.stop()
        server.stop()
        thread.join(20)


@settings(max_examples=15)
@given(st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=1, max_size=6))
def test_whenever_clients_die_the_survivor_is_served_rightly(steps: list[tuple[int, bool]]) -> None:
    """Clients come, send some patches and die or leave; one that stays gets its own vectors throughout."""
    with tempfile.TemporaryDirectory() as folder:
        address = f"{folder}/socket"
        encoder = CornerEncoder(max_batch=4)
        server, thread = serve(address, encoder)
        survivor = EncoderClient(address, streams=2, quota=4)
        survivor.start()
        try:
            wait_until(lambda: survivor.healthy, "the survivor")
            for number, (patches, waits) in enumerate(steps):
                doomed = EncoderClient(address, streams=1, quota=6)
                doomed.start()
                wait_until(lambda doomed=doomed: doomed.healthy, "a client")  # type: ignore[misc]
                theirs, ours = doomed.open_stream(patches), survivor.open_stream(7)
                send(theirs, 100 + number, 0, patches)
                send(ours, number, 0, 7)
                if waits:
                    theirs.wait(soon())
                    np.testing.assert_array_equal(theirs.vectors, expected(100 + number, patches))
                doomed.stop()
                ours.wait(soon())
                np.testing.assert_array_equal(ours.vectors, expected(number, 7))
                ours.close()
        finally:
            survivor.stop()
            server.stop()
            thread.join(20)
