"""Where the encoder process' two threads meet: its clients, the fair queue, and the batch that runs.

The socket thread brings in what clients send; the engine's thread takes batches out and answers them. All
state that both touch is behind the one lock in here, and nothing blocks while it is held: sockets are
non-blocking, and neither pixels nor vectors are copied under it.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from model.batching import BatchPolicy, Embedded, FairQueue, Queued
from model.encoder import EncoderFacts, PixelBatch
from model.transport import wire
from model.transport.slab import Slab, map_slab

StreamKey = tuple[int, int]
"""(number of the connection, number of the request on it)."""

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


@dataclass(frozen=True, slots=True)
class Batch:
    """Slots of clients' slabs that are embedded together.

    Attributes
    ----------
    queued:
        The slots, each with its stream.
    slabs:
        By number of the connection. Held here so that the memory stays mapped while the batch runs, even
        if the client disconnects meanwhile.
    started:
        ``time.monotonic()`` seconds.
    """

    queued: Sequence[Queued[StreamKey, int]]
    slabs: dict[int, Slab]
    started: float

    def __len__(self) -> int:
        return len(self.queued)

    def copy_pixels(self, buffer: PixelBatch) -> PixelBatch:
        """Copy the patches into the beginning of a buffer, and return that part of it.

        Slots are scattered over several slabs, and a model needs them in one block.
        """
        patches = buffer[: len(self)]
        for patch, queued in zip(patches, self.queued, strict=True):
            patch[...] = self.slabs[queued.stream[0]].pixels[queued.item]
        return patches


class Exchange:
    """The encoder's clients and their queue, for one socket thread and one engine thread.

    Parameters
    ----------
    wake:
        Interrupts the socket thread, so that it calls ``flush`` for all connections. Called from either
        thread with the lock held: must not block.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._changed = threading.Condition()
        self._numbers = itertools.count(1)
        self._connections: dict[int, Connection] = {}
        self._queue: FairQueue[StreamKey, int] = FairQueue()
        self._facts: EncoderFacts | None = None
        self._busy_since: float | None = None
        self._closed = False

    # Socket thread

    def connect(self, sock: socket.socket) -> Connection:
        """Add a client by its non-blocking socket, and greet it if the encoder is warm."""
        with self._changed:
            connection = Connection(next(self._numbers), sock)
            self._connections[connection.number] = connection
            # Under the lock, with ``announce``: a client gets exactly one HELLO, before any other message.
            if self._facts is not None:
                self._send(connection, wire.Hello(self._facts))
            return connection

    def disconnect(self, connection: Connection) -> None:
        """Remove a client and what it has in the queue, and close its socket."""
        with self._changed:
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
        with self._changed:
            return list(self._connections.values())

    def flush(self, connection: Connection) -> bool:
        """Send what was kept for a client, as far as its socket takes it; return whether some is left."""
        with self._changed:
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
        with self._changed:
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
        with self._changed:
            if connection.slab is None or any(slot >= connection.slab.slots for slot in slots):
                raise wire.WireError("slot outside of the slab")
            self._queue.push((connection.number, request), slots, time.monotonic())
            self._changed.notify()

    def cancel(self, connection: Connection, request: int) -> None:
        """Drop a request's slots that are still queued, and give them back to the client."""
        with self._changed:
            if dropped := self._queue.drop((connection.number, request)):
                self._send(connection, wire.Done(request, (), tuple(dropped), 0.0, 0.0))

    def beat(self) -> None:
        """Send every client the encoder's status, once there is an encoder."""
        with self._changed:
            if self._facts is None:
                return
            busy_s = 0.0 if self._busy_since is None else time.monotonic() - self._busy_since
            for connection in self._connections.values():
                self._send(connection, wire.Status(busy_s))

    @property
    def depth(self) -> int:
        """Patches in the queue."""
        with self._changed:
            return len(self._queue)

    def close(self) -> None:
        """Make ``take`` return ``None``."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    # Engine's thread

    def announce(self, facts: EncoderFacts) -> None:
        """Tell every client that the encoder is warm, and what it is."""
        with self._changed:
            self._facts = facts
            for connection in self._connections.values():
                self._send(connection, wire.Hello(facts))

    def take(self, policy: BatchPolicy) -> Batch | None:
        """Wait for a batch and begin it; ``None`` when the exchange is closed."""
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                oldest = self._queue.oldest()
                if count := policy.ready(len(self._queue), oldest, now):
                    self._busy_since = now
                    return self._batch(count, now)
                until = policy.wait_until(oldest)
                self._changed.wait(None if until is None else max(0.0, until - now))
        return None

    def answer(self, batch: Batch, embedded: Embedded, seconds: float) -> None:
        """End a batch: write its vectors into the clients' slabs, and give them their slots back.

        Parameters
        ----------
        seconds:
            How long the batch took.
        """
        with self._changed:
            self._busy_since = None
        rows: dict[StreamKey, list[int]] = {}
        for row, queued in enumerate(batch.queued):
            rows.setdefault(queued.stream, []).append(row)
        for (number, request), members in rows.items():
            good = [row for row in members if not embedded.failed[row]]
            bad = [row for row in members if embedded.failed[row]]
            # Before DONE, after which the slots are the client's, and outside of the lock: the batch keeps
            # the memory mapped, and in a slab whose client has gone nobody looks.
            batch.slabs[number].vectors[[batch.queued[row].item for row in good]] = embedded.vectors[good]
            done = wire.Done(
                request,
                tuple(batch.queued[row].item for row in good),
                tuple(batch.queued[row].item for row in bad),
                batch.started - min(batch.queued[row].since for row in members),
                seconds,
            )
            with self._changed:
                if (connection := self._connections.get(number)) is not None:
                    self._send(connection, done)

    # With the lock held

    def _batch(self, count: int, now: float) -> Batch:
        queued = self._queue.take(count)
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
