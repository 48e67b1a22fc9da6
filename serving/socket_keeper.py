"""Answers the clients of a worker that was killed: a clear 503 in place of a reset connection.

The launcher holds a duplicate of every connection of every worker, and sees in memory that it
shares with the worker what the connection is doing. When a worker ends without having closed a
connection, whoever waits on it for an answer that was not begun gets one from here.
"""

from __future__ import annotations

import contextlib
import json
import logging
import mmap
import os
import resource
import selectors
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus

from serving.errors import unavailable
from serving.kept_sockets import CONNECTIONS, ENLIST, State

_SWEEP_S = 1.0
"""How often duplicates of closed connections are let go."""

_LINGER_S = 5.0
"""How long a client may still send what nobody reads, before it has to read the answer."""

_FAREWELL_S = 1.0
_PAUSE_S = 0.1
_DESCRIPTORS_OF_OTHERS = 256
"""Descriptors that this process needs for all else, new processes first."""

_PIECE = 1 << 16

log = logging.getLogger(__name__)


class SocketKeeper:
    """Keeps connections in a thread.

    Parameters
    ----------
    address:
        Path of the Unix socket to listen on.
    """

    def __init__(self, address: str) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(address)
        self._listener.listen(64)
        self._listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._workers: set[_Worker] = set()
        self._lingering: dict[socket.socket, float] = {}
        self._stop_at: float | None = None
        self._stopping = threading.Event()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector.register(self._wake, selectors.EVENT_READ, lambda: os.eventfd_read(self._wake))
        self._thread = threading.Thread(target=self._run, name="socket-keeper", daemon=True)

    def start(self) -> None:
        """Begin to listen to workers."""
        self._thread.start()

    def stop(self) -> None:
        """End, when the workers have: what they left is answered first."""
        self._stop_at = time.monotonic() + _FAREWELL_S
        self._stopping.set()
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        self._selector.close()
        self._listener.close()
        os.close(self._wake)

    def _run(self) -> None:
        swept = time.monotonic()
        while not self._is_done():
            for key, _ in self._selector.select(_SWEEP_S if self._stop_at is None else 0.1):
                try:
                    key.data()
                except OSError as error:  # no descriptor or memory is free, for one
                    log.warning("connections are not kept", extra={"reason": type(error).__name__})
                    self._stopping.wait(_PAUSE_S)
            if time.monotonic() >= swept + _SWEEP_S:
                swept = time.monotonic()
                self._sweep(swept)

    def _is_done(self) -> bool:
        if self._stop_at is None:
            return False
        return not (self._workers or self._lingering) or time.monotonic() > self._stop_at

    def _sweep(self, now: float) -> None:
        for worker in self._workers:
            worker.sweep()
        for connection in [c for c, until in self._lingering.items() if until < now]:
            self._let_go(connection)

    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        sock.setblocking(False)
        worker = _Worker(sock, self._has_room)
        self._workers.add(worker)
        self._selector.register(sock, selectors.EVENT_READ, lambda: self._listen(worker))

    def _has_room(self) -> bool:
        """Say whether one more connection may be kept."""
        kept = sum(len(worker) for worker in self._workers) + len(self._lingering)
        return kept < resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _DESCRIPTORS_OF_OTHERS

    def _listen(self, worker: _Worker) -> None:
        if worker.listen():
            return
        self._selector.unregister(worker.sock)
        self._workers.discard(worker)
        left = worker.left_behind()
        for connection in left:
            self._answer(connection)
        if left:
            log.error(
                "a worker ended with requests; their clients are told", extra={"connections": len(left)}
            )

    def _answer(self, connection: socket.socket) -> None:
        try:
            connection.setblocking(False)
            connection.send(ANSWER)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            connection.close()
            return
        self._lingering[connection] = time.monotonic() + _LINGER_S
        self._selector.register(connection, selectors.EVENT_READ, partial(self._discard, connection))

    def _discard(self, connection: socket.socket) -> None:
        """Read what the client still sends: a reset would take the answer from it."""
        try:
            ended = not connection.recv(_PIECE)
        except OSError as error:
            ended = not isinstance(error, BlockingIOError)
        if ended:
            self._let_go(connection)

    def _let_go(self, connection: socket.socket) -> None:
        self._lingering.pop(connection)
        self._selector.unregister(connection)
        connection.close()


class _Worker:
    """A worker process and its connections, by their numbers."""

    def __init__(self, sock: socket.socket, has_room: Callable[[], bool]) -> None:
        self.sock = sock
        self._has_room = has_room
        self._states: mmap.mmap | None = None
        self._connections: dict[int, socket.socket] = {}

    def __len__(self) -> int:
        return len(self._connections)

    def listen(self) -> bool:
        """Take in the worker's messages; say whether it is still there."""
        with contextlib.suppress(BlockingIOError):
            while True:
                try:
                    message, descriptors, _, _ = socket.recv_fds(self.sock, 16, 1)
                except ConnectionResetError:
                    return False
                if not message:
                    return False
                for descriptor in descriptors:  # none, where this process has too many
                    self._take(message, descriptor)
        return True

    def _take(self, message: bytes, descriptor: int) -> None:
        if self._states is None:
            try:
                self._states = mmap.mmap(descriptor, CONNECTIONS)
            finally:
                os.close(descriptor)
            return
        (number,) = ENLIST.unpack(message)
        if old := self._connections.pop(number, None):
            old.close()
        connection = socket.socket(fileno=descriptor)
        if self._has_room():
            self._connections[number] = connection
        else:
            connection.close()

    def sweep(self) -> None:
        """Let go of what the worker has closed."""
        for number in [n for n in self._connections if self._state(n) == State.CLOSED]:
            self._connections.pop(number).close()

    def left_behind(self) -> list[socket.socket]:
        """Return the connections on which an answer is due, when the worker is gone; close the others."""
        self.sock.close()
        due = []
        for number, connection in self._connections.items():
            state = self._state(number)
            if state == State.BUSY or (state == State.IDLE and _has_data(connection)):
                due.append(connection)
            else:
                connection.close()
        self._connections.clear()
        return due

    def _state(self, number: int) -> int:
        return State.CLOSED if self._states is None else self._states[number]


def _has_data(connection: socket.socket) -> bool:
    try:
        return bool(connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except OSError:
        return False


def _http_answer() -> bytes:
    error = unavailable("The process that had this request ended; send it again.")
    body = json.dumps({"error": error.fault.as_json()})
    status = HTTPStatus.SERVICE_UNAVAILABLE
    head = [
        f"HTTP/1.1 {status} {status.phrase}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"Retry-After: {error.retry_after_s}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
    ]
    return "\r\n".join([*head, "", body]).encode("ascii")


ANSWER = _http_answer()
"""What a client gets whose worker was killed."""
