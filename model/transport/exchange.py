"""Where the encoder process' two threads meet: its clients, the fair queue, and the batch that runs.

The socket thread brings in what clients send; the engine's thread takes batches out and answers them. All
state that both touch is behind the one lock in here, and nothing blocks while it is held: sockets are
non-blocking, and neither pixels nor vectors are copied under it.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from model.batching import BatchPolicy, Embedded, FairQueue
from model.encoder import EncoderFacts
from model.transport import wire
from model.transport.batch import Batch, StreamKey
from model.transport.slab import Slab, map_slab

_MAX_OUTBOX = 2 * wire.MAX_SLOTS
"""Messages kept for a client. Each answers a slot in flight, or is a status: more, and it is not reading."""


@dataclass(eq=False, slots=True)
class Connection:
    """One client of the encoder. Only ``number`` and ``sock`` are for use outside of this module."""

    number: int
    sock: socket.socket
    slab: Slab | None = None
    outbox: deque[bytes] = field(default_factory=deque)
    closed: bool = False


class Exchange:
    """The encoder's clients and their queue, for one socket thread and one engine thread.

    Parameters
    ----------
    wake:
        Interrupts the socket thread, so that it calls ``flush`` for all connections. Called from either
        thread with the lock held: must not block.

    Attributes
    ----------
    lock, changed:
        The lock, and its condition; notified when the exchange is closed.
    listener:
        Notified when patches are queued: ``changed``, unless another thread listens.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self.lock = threading.RLock()
        self.changed = self.listener = threading.Condition(self.lock)
        self._numbers = itertools.count(1)
        self._connections: dict[int, Connection] = {}
        self._queue: FairQueue[StreamKey, int] = FairQueue()
        self._facts: EncoderFacts | None = None
        self._fault = ""
        self._busy_since: float | None = None
        self.closed = False

    # Socket thread

    def connect(self, sock: socket.socket) -> Connection:
        """Add a client by its non-blocking socket, and greet it if the encoder is warm."""
        with self.changed:
            connection = Connection(next(self._numbers), sock)
            self._connections[connection.number] = connection
            # Under the lock, with ``announce``: a client gets exactly one HELLO, before any other message.
            if self._facts is not None:
                self._send(connection, wire.Hello(self._facts, self._fault))
            return connection

    def disconnect(self, connection: Connection) -> None:
        """Remove a client and what it has in the queue, and close its socket."""
        with self.changed:
            self._connections.pop(connection.number, None)
            for stream in self._queue.streams():
                if stream[0] == connection.number:
                    self._queue.drop(stream)
            connection.closed = True
            connection.slab = None
            connection.outbox.clear()
            connection.sock.close()

    def connections(self) -> list[Connection]:
        """Return all clients."""
        with self.changed:
            return list(self._connections.values())

    def flush(self, connection: Connection) -> bool:
        """Send what was kept for a client, as far as its socket takes it; return whether some is left."""
        with self.changed:
            return self._flush(connection)

    def attach(self, connection: Connection, fd: int, slots: int) -> None:
        """Map a client's slab; the descriptor may be closed afterwards.

        Raises
        ------
        WireError
            When the client may not attach a slab of this size, or not now.
        ValueError, OSError
            See ``map_slab``.
        """
        with self.changed:
            # Once only: slots that are queued were checked against the slab that is attached.
            if self._facts is None or connection.slab is not None or not 1 <= slots <= wire.MAX_SLOTS:
                raise wire.WireError("bad slab")
            connection.slab = map_slab(fd, slots, self._facts.dimension)

    def submit(self, connection: Connection, request: int, slots: Sequence[int]) -> None:
        """Queue slots of a client's request.

        Raises
        ------
        WireError
            When a slot is not in the client's slab.
        """
        with self.changed:
            if connection.slab is None or any(slot >= connection.slab.slots for slot in slots):
                raise wire.WireError("slot outside of the slab")
            if self._fault:  # the client is being told, and ends the request
                return
            self._queue.push((connection.number, request), slots, time.monotonic())
            self.listener.notify()

    def cancel(self, connection: Connection, request: int) -> None:
        """Drop a request's slots that are still queued, and give them back to the client."""
        with self.changed:
            if dropped := self._queue.drop((connection.number, request)):
                self._send(connection, wire.Done(request, (), tuple(dropped), 0.0, 0.0))

    def beat(self) -> None:
        """Send every client the encoder's status, once there is an encoder."""
        with self.changed:
            if self._facts is None:
                return
            busy_s = 0.0 if self._busy_since is None else time.monotonic() - self._busy_since
            for connection in self._connections.values():
                self._send(connection, wire.Status(busy_s, self._fault))

    @property
    def depth(self) -> int:
        """Patches in the queue."""
        with self.changed:
            return len(self._queue)

    def close(self) -> None:
        """Make ``take`` return ``None``."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    # Engine's thread

    def announce(self, facts: EncoderFacts, fault: str = "") -> None:
        """Tell every client that the encoder is warm, and what it is.

        Parameters
        ----------
        fault:
            Why it embeds nothing all the same; see ``wire.Status``.
        """
        with self.changed:
            self._facts, self._fault = facts, fault
            for connection in self._connections.values():
                self._send(connection, wire.Hello(facts, fault))

    def condemn(self, fault: str) -> None:
        """Tell every client that the encoder embeds nothing any more; drop what is queued and what has run.

        Clients are told at once, before anything else: who hears of it uses none of the vectors that it has.
        """
        with self.changed:
            self._fault = fault
            for stream in self._queue.streams():
                self._queue.drop(stream)
            for connection in self._connections.values():
                self._send(connection, wire.Status(0.0, fault))

    def wait_closed(self, seconds: float) -> bool:
        """Wait until the exchange is closed, for so long; return whether it is."""
        with self.changed:
            return self.changed.wait_for(lambda: self.closed, seconds)

    def take(self, policy: BatchPolicy, until: float = math.inf) -> Batch | None:
        """Wait for a batch and begin it; ``None`` when the exchange is closed, or none came in time.

        Parameters
        ----------
        until:
            When to stop waiting, in ``time.monotonic()`` seconds. A batch that is there is taken all the
            same.
        """
        with self.changed:
            while not self.closed:
                now = time.monotonic()
                oldest = self._queue.oldest()
                if count := policy.ready(len(self._queue), oldest, now):
                    self.begin(now)
                    return self.batch(count, now)
                if now >= until:
                    break
                self.wait_for_more(policy.wait_until(oldest), until, now)
        return None

    def answer(self, batch: Batch, embedded: Embedded, seconds: float) -> None:
        """Answer a batch that has run: write its vectors into the clients' slabs, and give the slots back.

        Parameters
        ----------
        seconds:
            How long the batch took.
        """
        rows: dict[StreamKey, list[int]] = {}
        for row, queued in enumerate(batch.queued):
            rows.setdefault(queued.stream, []).append(row)
        failed = set(np.flatnonzero(embedded.failed).tolist())
        for (number, request), members in rows.items():
            good = [row for row in members if row not in failed]
            slots = [batch.queued[row].item for row in good]
            # Before DONE, after which the slots are the client's, and outside of the lock: the batch keeps
            # the memory mapped, and in a slab whose client has gone nobody looks.
            whole = len(good) == len(batch)
            batch.slabs[number].vectors[slots] = embedded.vectors if whole else embedded.vectors[good]
            done = wire.Done(
                request,
                tuple(slots),
                tuple([batch.queued[row].item for row in members if row in failed]),
                batch.started - min([batch.queued[row].since for row in members]),
                seconds,
            )
            with self.changed:
                if (connection := self._connections.get(number)) is not None and not self._fault:
                    self._send(connection, done)

    # With the lock held

    def wait_for_more(self, ready: float | None, until: float, now: float) -> None:
        """Wait for a notification, but no longer than until a batch is ready, or ``until``."""
        end = until if ready is None else min(ready, until)
        self.changed.wait(None if end == math.inf else max(0.0, end - now))

    @property
    def waiting(self) -> int:
        """Patches in the queue."""
        return len(self._queue)

    @property
    def oldest(self) -> float | None:
        """When the patch was queued that has been in the queue for longest."""
        return self._queue.oldest()

    def begin(self, now: float) -> None:
        """Note that a batch runs from now on, until it is answered or ``end`` is called."""
        self._busy_since = now

    def end(self) -> None:
        """Note that no batch runs."""
        self._busy_since = None

    def batch(self, count: int, now: float) -> Batch:
        """Take patches out of the queue, one of each request in turn; at most as many as are waiting."""
        queued = self._queue.take(count)
        # Neighbours side by side: which of them comes first in a batch is all the same.
        queued.sort(key=lambda item: (item.stream[0], item.item))
        slabs: dict[int, Slab] = {}
        for number in {item.stream[0] for item in queued}:
            slab = self._connections[number].slab
            assert slab is not None  # ``submit`` looked, and ``disconnect`` empties the queue with the slab
            slabs[number] = slab
        return Batch(queued, slabs, now)

    def _send(self, connection: Connection, message: wire.Message) -> None:
        """Send a message, behind those that are kept; what the socket does not take now is kept."""
        connection.outbox.append(wire.encode(message))
        if self._flush(connection):
            self._wake()  # the selector is the socket thread's: only that may ask it for room to write

    def _flush(self, connection: Connection) -> bool:
        outbox = connection.outbox
        while outbox and not connection.closed:
            try:
                connection.sock.send(outbox[0])
            except BlockingIOError:
                if len(outbox) > _MAX_OUTBOX:
                    outbox.clear()
                    # The socket thread reads an end of file, and disconnects the client.
                    with contextlib.suppress(OSError):
                        connection.sock.shutdown(socket.SHUT_RDWR)
                return bool(outbox)
            except OSError:  # the client has gone: the socket thread will read that
                outbox.clear()
                return False
            outbox.popleft()
        return False
