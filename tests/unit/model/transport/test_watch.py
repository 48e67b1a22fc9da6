"""The watch over the encoder, against a socket that speaks as one."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from model.transport import wire
from model.transport.liveness import Limits
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
    for name in ("nowhere", "s"):
        watch = EncoderWatch(str(tmp_path / name), Limits(silent_s=0, busy_s=0))
        watch.listen()
        assert not watch.is_stuck
        watch.reset()
        assert not watch.has_loaded


def test_silence_after_the_first_message_is_being_stuck(listener: socket.socket, tmp_path: Path) -> None:
    watch = EncoderWatch(str(tmp_path / "s"), Limits(silent_s=0.2, busy_s=5))
    watch.listen()
    assert not watch.is_stuck
    encoder, _ = listener.accept()
    encoder.send(wire.encode(wire.Hello(facts(4))))
    watch.listen()
    assert not watch.is_stuck
    wait_until(lambda: watch.is_stuck, "the silence to be noticed")
    assert watch.has_loaded
    encoder.send(wire.encode(wire.Status(0.0)))
    watch.listen()
    assert not watch.is_stuck
    encoder.close()
    watch.listen()
    assert not watch.is_stuck  # it ended: that is the launcher's to see
    assert watch.has_loaded


def test_a_batch_without_end_is_being_stuck(listener: socket.socket, tmp_path: Path) -> None:
    watch = EncoderWatch(str(tmp_path / "s"), Limits(silent_s=60, busy_s=5))
    watch.listen()
    encoder, _ = listener.accept()
    for busy_s, stuck in ((4.0, False), (6.0, True), (0.0, False), (6.0, True)):
        encoder.send(wire.encode(wire.Status(busy_s)))
        watch.listen()
        assert watch.is_stuck is stuck
    watch.reset()
    watch.listen()
    assert not watch.is_stuck
    encoder.close()
    watch.reset()


def test_a_launcher_without_descriptors_listens_later(listener: socket.socket, tmp_path: Path) -> None:
    watch = EncoderWatch(str(tmp_path / "s"), Limits(silent_s=60, busy_s=5))
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, usual[1]))
    try:
        watch.listen()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, usual)
    watch.listen()
    encoder, _ = listener.accept()
    encoder.send(wire.encode(wire.Hello(facts(4))))
    watch.listen()
    assert watch.has_loaded
    encoder.close()
    watch.reset()
