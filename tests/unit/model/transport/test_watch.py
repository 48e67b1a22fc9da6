"""The watch over the encoder, against a socket that acts as one."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from model.transport import wire
from model.transport.liveness import Limits
from model.transport.watch import EncoderWatch
from tests.support.encoders import facts
from tests.support.service import wait_until


def is_stuck(watch: EncoderWatch) -> bool:
    watch.listen()
    return watch.is_stuck


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.bind(str(tmp_path / "s"))
        sock.listen()
        yield sock


def test_an_encoder_that_is_not_there_or_still_loads_is_not_stuck(
    listener: socket.socket, tmp_path: Path
) -> None:
    limits = Limits(silent_s=0, busy_s=0)
    assert not is_stuck(EncoderWatch(str(tmp_path / "nowhere"), limits))
    watch = EncoderWatch(str(tmp_path / "s"), limits)
    assert not is_stuck(watch)
    watch.reset()
    assert not watch.has_loaded


def test_silence_after_the_first_message_is_being_stuck(listener: socket.socket, tmp_path: Path) -> None:
    watch = EncoderWatch(str(tmp_path / "s"), Limits(silent_s=0.2, busy_s=5))
    assert not is_stuck(watch)
    encoder, _ = listener.accept()
    encoder.send(wire.encode(wire.Hello(facts(4))))
    assert not is_stuck(watch)
    wait_until(lambda: is_stuck(watch), "the silence to be noticed")
    assert watch.has_loaded
    encoder.send(wire.encode(wire.Status(0.0)))
    assert not is_stuck(watch)
    encoder.close()
    assert not is_stuck(watch)  # it ended: that is the launcher's to see


def test_a_batch_without_end_is_being_stuck(listener: socket.socket, tmp_path: Path) -> None:
    watch = EncoderWatch(str(tmp_path / "s"), Limits(silent_s=60, busy_s=5))
    watch.listen()
    encoder, _ = listener.accept()
    encoder.send(wire.encode(wire.Status(4.0)))
    assert not is_stuck(watch)
    encoder.send(wire.encode(wire.Status(6.0)))
    assert is_stuck(watch)
    watch.reset()
    assert not is_stuck(watch)
    encoder.close()
    watch.reset()
