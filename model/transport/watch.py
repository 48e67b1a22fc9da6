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
    has_spoken:
        Whether this encoder process has loaded its model.
    """

    def __init__(self, address: str, silent_s: float = SILENT_S, busy_s: float = BUSY_S) -> None:
        self._address = address
        self._silent_s = silent_s
        self._busy_s = busy_s
        self._socket: socket.socket | None = None
        self._heard: float | None = None
        self.has_spoken = False

    def restart(self) -> None:
        """Hear that another encoder process is being started."""
        self._disconnect()
        self.has_spoken = False

    def is_stuck(self) -> bool:
        """Take in what the encoder has said, and judge it; never blocks."""
        if self._socket is None:
            self._connect()
        busy = self._listen()
        if self._heard is None:
            return False  # it is still loading its model
        return time.monotonic() - self._heard > self._silent_s or busy > self._busy_s

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

    def _listen(self) -> float:
        busy = 0.0
        with contextlib.suppress(BlockingIOError):
            while self._socket is not None:
                try:
                    packet = self._socket.recv(wire.MAX_PACKET)
                except ConnectionError:
                    packet = b""
                if not packet:
                    self._disconnect()  # it ended; the launcher hears of that by itself
                    break
                self._heard, self.has_spoken = time.monotonic(), True
                message = wire.decode(packet)
                if isinstance(message, wire.Status):
                    busy = message.busy_s
        return busy
