"""Detects an encoder process that runs but does not answer: stopped, deadlocked, or lost in one batch."""

from __future__ import annotations

import contextlib
import socket
import time

from model.transport.liveness import WORKING, Limits, Liveness


class EncoderWatch:
    """Monitors the encoder on a connection of its own, without blocking.

    Parameters
    ----------
    address:
        Path of the encoder's Unix socket.
    limits:
        Beyond which the encoder is stuck.

    Attributes
    ----------
    has_loaded:
        Whether this encoder process has loaded its model.
    """

    def __init__(self, address: str, limits: Limits = WORKING) -> None:
        self._address = address
        self._limits = limits
        self._socket: socket.socket | None = None
        # None until the encoder's first message: loading a model may take minutes, and is not being stuck.
        self._liveness: Liveness | None = None
        self.has_loaded = False

    def reset(self) -> None:
        """Reset for a new encoder process."""
        self._disconnect()
        self.has_loaded = False

    def listen(self) -> None:
        """Read the messages that have arrived, connecting first where necessary."""
        if self._socket is None:
            self._connect()
        with contextlib.suppress(BlockingIOError):
            while self._socket is not None:
                self._read(self._socket)

    @property
    def is_stuck(self) -> bool:
        """Whether the encoder, by the messages read so far, will not recover."""
        return self._liveness is not None and not self._liveness.within(self._limits, time.monotonic())

    def _connect(self) -> None:
        try:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError:  # this process has no descriptor left: it may have one the next time
            return
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
        self._socket = self._liveness = None

    def _read(self, sock: socket.socket) -> None:
        # Not at the top: it takes NumPy with it, and the launcher starts the encoder before it needs this.
        from model.transport import wire

        try:
            packet = sock.recv(wire.MAX_PACKET)
        except ConnectionError:
            packet = b""
        if not packet:
            # The process has ended. That is not being stuck: its parent is notified by the system.
            self._disconnect()
            return
        self.has_loaded = True  # a server sends nothing before its encoder is warm
        message = wire.decode(packet)
        busy_s = message.busy_s if isinstance(message, wire.Status) else 0.0
        self._liveness = Liveness(time.monotonic(), busy_s)
