"""The worker's side of keeping clients' connections through its own death (see ``serving.socket_keeper``).

A worker hands a duplicate of each connection's descriptor to the launcher, and notes in shared
memory what it is doing with the connection: one byte for each, written without a system call.
"""

from __future__ import annotations

import enum
import logging
import mmap
import os
import socket
import struct
import threading

CONNECTIONS = 4096
"""Connections of a worker that are kept at most; further ones are served, but not kept."""

ENLIST = struct.Struct("<H")
"""A message: the number of the connection whose descriptor comes with it."""

log = logging.getLogger(__name__)


class State(enum.IntEnum):
    """What a worker is doing with a connection."""

    CLOSED = 0
    IDLE = 1
    """Waiting for a request; one may be there that was not read."""

    BUSY = 2
    """A request is being read or worked on; nothing of its answer has been sent."""

    ANSWERING = 3


class KeptSockets:
    """Tells the launcher of this worker's connections.

    Parameters
    ----------
    address:
        Path of the launcher's socket; with ``None``, or where nobody listens, connections are not kept.
    """

    def __init__(self, address: str | None) -> None:
        self._lock = threading.Lock()
        self._numbers: dict[int, int] = {}
        self._free: list[int] = []
        if address is None:
            return
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        memory = os.memfd_create("pathserve-connections", os.MFD_CLOEXEC)
        try:
            os.ftruncate(memory, CONNECTIONS)
            self._states = mmap.mmap(memory, CONNECTIONS)
            self._socket.connect(address)
            socket.send_fds(self._socket, [b"\0"], [memory])
            self._socket.setblocking(False)
            self._free.extend(range(CONNECTIONS - 1, -1, -1))
        except OSError as error:
            self._socket.close()
            log.warning("connections are not kept", extra={"reason": type(error).__name__})
        finally:
            os.close(memory)

    def enlist(self, connection: socket.socket) -> None:
        """Hand over a duplicate of a new connection, which is idle."""
        with self._lock:
            self._strike_off(connection.fileno())
            if not self._free:
                return
            number = self._free.pop()
            self._states[number] = State.IDLE
            try:
                socket.send_fds(self._socket, [ENLIST.pack(number)], [connection.fileno()])
            except OSError:  # the launcher is busy: this one is not kept
                self._states[number] = State.CLOSED
                self._free.append(number)
            else:
                self._numbers[connection.fileno()] = number

    def note(self, connection: socket.socket, state: State) -> None:
        """Note what is being done with a connection."""
        number = self._numbers.get(connection.fileno())
        if number is not None:
            self._states[number] = state

    def forget(self, connection: socket.socket) -> None:
        """Say that a connection is being closed; the launcher lets go of its duplicate soon."""
        with self._lock:
            self._strike_off(connection.fileno())

    def _strike_off(self, descriptor: int) -> None:
        number = self._numbers.pop(descriptor, None)
        if number is not None:
            self._states[number] = State.CLOSED
            self._free.append(number)
