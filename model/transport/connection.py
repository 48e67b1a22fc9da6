"""The encoder's end of one worker's connection: sending that never blocks the encoder."""

from __future__ import annotations

import socket
import threading
from collections import deque

from model.transport import wire
from model.transport.slab import Slab

_MAX_OUTBOX = 2 * wire.MAX_SLOTS


class Connection:
    """One worker: its socket, its slab, and what could not be sent to it yet."""

    def __init__(self, number: int, sock: socket.socket) -> None:
        self.number = number
        self.sock = sock
        self.slab: Slab | None = None
        self.closed = False
        self._lock = threading.Lock()
        self._outbox: deque[bytes] = deque()

    def send(self, message: wire.Message) -> bool:
        """Send a message or keep it for ``flush``; say whether something is kept."""
        with self._lock:
            self._outbox.append(wire.encode(message))
            return self._flush()

    def flush(self) -> bool:
        """Send what is kept, as far as the socket takes it; say whether something is left."""
        with self._lock:
            return self._flush()

    def _flush(self) -> bool:
        while self._outbox and not self.closed:
            try:
                self.sock.send(self._outbox[0])
            except BlockingIOError:
                # Bounded in practice by the slots in flight; beyond that the worker is not reading.
                if len(self._outbox) > _MAX_OUTBOX:
                    self._outbox.clear()
                    self.sock.shutdown(socket.SHUT_RDWR)
                return bool(self._outbox)
            except OSError:
                self._outbox.clear()
                return False
            self._outbox.popleft()
        return False

    def close(self) -> None:
        with self._lock:
            self.closed = True
            self.slab = None
            self._outbox.clear()
            self.sock.close()
