"""The watch over the encoder, against a socket that speaks as one."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from model.transport import wire
from model.transport.watch import EncoderWatch
from tests.support.encoders import facts
from tests.support.service import wait_until


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.bind(str(tmp_path / "s"))
        sock.listen()
        yield sock


def test_an_encoder_that_is_not_there_or_still_loads_is_not_stuck(
    listener: socket.socket, tmp_path: Path
) -> None:
    assert not EncoderWatch(str(tmp_path / "nowhere"), silent_s=0).is_stuck()
    watch = EncoderWatch(str(tmp_path / "s"), silent_s=0)
    assert not watch.is_stuck()
    watch.restart()
    assert not watch.has_spoken


def test_silence_after_the_first_word_is_being_stuck(listener: socket.socket, tmp_path: Path) -> None:
    watch = EncoderWatch(str(tmp_path / "s"), silent_s=0.2)
    assert not watch.is_stuck()
    encoder, _ = listener.accept()
    encoder.send(wire.encode(wire.Hello(facts(4))))
    assert not watch.is_stuck()
    wait_until(watch.is_stuck, "the silence to be noticed")
    assert watch.has_spoken
    encoder.send(wire.encode(wire.Status(0.0)))
    assert not watch.is_stuck()
    encoder.close()
    assert not watch.is_stuck()  # it ended: that is the launcher's to see


def test_a_batch_without_end_is_being_stuck(listener: socket.socket, tmp_path: Path) -> None:
    watch = EncoderWatch(str(tmp_path / "s"), busy_s=5)
    watch.is_stuck()
    encoder, _ = listener.accept()
    encoder.send(wire.encode(wire.Status(4.0)))
    assert not watch.is_stuck()
    encoder.send(wire.encode(wire.Status(6.0)))
    assert watch.is_stuck()
    watch.restart()
    assert not watch.is_stuck()
    encoder.close()
    watch.restart()
