"""Notices an encoder that runs but does not answer: stopped, deadlocked, or lost in one batch."""

from __future__ import annotations

import contextlib
import socket
import time

from model.transport import wire

SILENT_S = 10.0
"""A warm encoder, which speaks several times a second, is stuck after so long without a word."""

BUSY_S = 120.0
"""One batch that takes so long will never end."""


class EncoderWatch:
    """Listens to the encoder on a connection of its own.

    Parameters
    ----------
    address:
        Path of the encoder's Unix socket.

    Attributes
    ----------
    has_loaded:
        Whether this encoder process has loaded its model.
    """

    def __init__(self, address: str, silent_s: float = SILENT_S, busy_s: float = BUSY_S) -> None:
        self._address = address
        self._silent_s = silent_s
        self._busy_s = busy_s
        self._socket: socket.socket | None = None
        self._heard: float | None = None
        self._busy_for_s = 0.0
        self.has_loaded = False

    def reset(self) -> None:
        """Begin anew, for a new encoder process."""
        self._disconnect()
        self.has_loaded = False

    @property
    def is_stuck(self) -> bool:
        """Whether the encoder has been silent, or busy with one batch, for too long."""
        if self._heard is None:
            return False  # it is still loading its model
        return time.monotonic() - self._heard > self._silent_s or self._busy_for_s > self._busy_s

    def listen(self) -> None:
        """Take in what the encoder has sent since the last time; never blocks."""
        if self._socket is None:
            self._connect()
        with contextlib.suppress(BlockingIOError):
            while self._socket is not None:
                try:
                    packet = self._socket.recv(wire.MAX_PACKET)
                except ConnectionError:
                    packet = b""
                if not packet:
                    self._disconnect()  # it ended, which the launcher learns by itself
                    break
                self._heard, self.has_loaded = time.monotonic(), True
                message = wire.decode(packet)
                self._busy_for_s = message.busy_s if isinstance(message, wire.Status) else 0.0

    def _connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.setblocking(False)
        try:
            sock.connect(self._address)
        except OSError:
            sock.close()
            return
        self._socket = sock

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = self._heard = None
        self._busy_for_s = 0.0
