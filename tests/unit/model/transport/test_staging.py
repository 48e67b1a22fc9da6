"""Batches on their way through the encoder process: read where they are, gathered, or gathered ahead."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from model.batching import BatchPolicy, Embedded, Queued
from model.encoder import PATCH_SHAPE
from model.transport.batch import Batch
from model.transport.client import EncoderClient
from model.transport.exchange import Exchange
from model.transport.server import EncoderServer, listen
from model.transport.slab import create_slab
from model.transport.staging import Staging
from tests.support.encoders import DIMENSION, CornerEncoder
from tests.support.service import wait_until

SLABS = {number: create_slab(8, DIMENSION) for number in (1, 2)}
for _number, _slab in SLABS.items():
    _slab.pixels[:, 0, 0, 0] = 10 * _number + np.arange(8)


def batch(*slots: tuple[int, int]) -> Batch:
    """Return a batch of (connection, slot)."""
    return Batch([Queued((number, 1), slot, 0.0) for number, slot in slots], SLABS, 0.0)


def buffer() -> np.ndarray:
    return np.zeros((8, *PATCH_SHAPE), np.uint8)


def test_slots_side_by_side_are_read_where_they_are() -> None:
    patches = batch((1, 2), (1, 3), (1, 4)).pixels(buffer())
    assert np.shares_memory(patches, SLABS[1].pixels)
    assert patches[:, 0, 0, 0].tolist() == [12, 13, 14]


@pytest.mark.parametrize("slots", [((1, 2), (1, 4)), ((1, 3), (1, 2)), ((1, 2), (2, 3)), ((1, 7), (2, 0))])
def test_slots_apart_are_gathered_in_their_order(slots: tuple[tuple[int, int], ...]) -> None:
    patches = batch(*slots).pixels(buffer())
    assert not any(np.shares_memory(patches, slab.pixels) for slab in SLABS.values())
    assert patches[:, 0, 0, 0].tolist() == [10 * number + slot for number, slot in slots]


def test_while_a_device_runs_what_arrives_is_gathered_to_one_batch(tmp_path: Path) -> None:
    encoder, address = CornerEncoder(device="GPU: none"), str(tmp_path / "socket")
    server = EncoderServer(lambda: encoder, listen(address))
    thread = threading.Thread(target=server.run)
    thread.start()
    client = EncoderClient(address, streams=1, quota=16)
    client.start()
    try:
        wait_until(lambda: client.healthy, "the link")
        encoder.gate.clear()
        stream = client.open_stream(13)
        for index in range(13):
            (slot,) = stream.acquire(1, time.monotonic() + 10)
            stream.pixels(slot).reshape(-1)[:DIMENSION] = index
            stream.submit({slot: index})
            if index == 0:
                assert encoder.running.wait(10)
        wait_until(lambda: server._exchange.depth == 4, "eight patches to be gathered beside the batch")
        encoder.gate.set()
        stream.wait(time.monotonic() + 10)
        assert stream.vectors[:, 0].tolist() == list(range(13))
        assert encoder.sizes == [1, 8, 4]
    finally:
        encoder.gate.set()
        client.stop()
        server.stop()
        thread.join(20)


def test_a_client_that_goes_while_its_patches_are_gathered_takes_nobodys_vectors_along(
    tmp_path: Path,
) -> None:
    encoder, address = CornerEncoder(device="GPU: none"), str(tmp_path / "socket")
    server = EncoderServer(lambda: encoder, listen(address))
    thread = threading.Thread(target=server.run)
    thread.start()
    clients = [EncoderClient(address, streams=1, quota=4) for _ in range(2)]
    try:
        for client in clients:
            client.start()
        wait_until(lambda: all(client.healthy for client in clients), "the links")
        encoder.gate.clear()
        streams = [client.open_stream(4) for client in clients]
        for number, stream in enumerate(streams):
            slots = stream.acquire(4, time.monotonic() + 10)
            for index, slot in enumerate(slots):
                stream.pixels(slot).reshape(-1)[:DIMENSION] = 10 * number + index
            stream.submit({slot: index for index, slot in enumerate(slots)})
            assert encoder.running.wait(10)
        wait_until(lambda: server._exchange.depth == 0, "all patches to run or to be gathered")
        clients[0].stop()
        wait_until(lambda: len(server._exchange.connections()) == 1, "the first client to be forgotten")
        encoder.gate.set()
        streams[1].wait(time.monotonic() + 10)
        assert streams[1].vectors[:, 0].tolist() == [10, 11, 12, 13]
    finally:
        encoder.gate.set()
        for client in clients[1:]:
            client.stop()
        server.stop()
        thread.join(20)


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    exchange = Exchange(lambda: None)
    yield exchange
    exchange.close()


def test_what_ends_the_second_thread_ends_the_first_one_too(exchange: Exchange) -> None:
    def answer(_batch: Batch, _embedded: Embedded, _seconds: float) -> None:
        raise ZeroDivisionError

    embedded = Embedded(np.zeros((1, DIMENSION), np.float32), np.zeros(1, np.bool_))
    exchange._queue.push((1, 1), [0], time.monotonic())  # so there is more to run, and the second one answers
    with Staging(exchange, BatchPolicy((1, 2), 60.0), (buffer(), buffer()), answer) as staging:
        staging.finish(batch((1, 0)), embedded, 0.0)
        with pytest.raises(ZeroDivisionError):
            staging.take()


def test_a_closed_exchange_ends_the_wait_for_a_batch(exchange: Exchange) -> None:
    with Staging(exchange, BatchPolicy((1,)), (buffer(), buffer()), lambda *_: None) as staging:
        closing = threading.Thread(target=exchange.close)
        closing.start()
        assert staging.take() is None
        closing.join()
