"""A bell between processes of one machine: it saves the runner from asking the table all the time."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from enum import Enum


class Ring(bytes, Enum):
    """Why it rings. Nothing depends on it: what a lost ring was about is found at the next look."""

    POSTED = b"p"
    CANCEL = b"c"
    OWN = b"o"


class Doorbell:
    """The runner's end: a Unix datagram socket."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(address)  # of a runner that has died
        self._socket.bind(address)

    def wait(self, seconds: float) -> set[bytes]:
        """Wait for a ring, if there has been none since; return why it rang."""
        found: set[bytes] = set()
        if select.select([self._socket], [], [], seconds)[0]:
            with contextlib.suppress(BlockingIOError):
                while True:
                    found.add(self._socket.recv(1))
        return found

    def ring(self) -> None:
        """Ring one's own bell; safe in a handler of signals."""
        ring(self._address, Ring.OWN)

    def close(self) -> None:
        """Take it down."""
        self._socket.close()


def ring(address: str, why: Ring) -> None:
    """Ring; who is not there, or has not listened for long, need not hear it."""
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock,
    ):
        sock.sendto(why.value, address)
