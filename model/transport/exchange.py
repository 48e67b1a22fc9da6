"""What the encoder process' two threads share: workers' connections, the fair queue, the encoder's facts.

The socket thread puts in what workers send; the encoder thread takes out batches.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from model.batching import BatchPolicy, FairQueue, Queued
from model.encoder import EncoderFacts
from model.transport.connection import Connection
from model.transport.slab import Slab

Stream = tuple[int, int]
"""(number of the connection, number of the request on it)."""

Batch = list[Queued[Stream, int]]
"""Slots of slabs, each with the stream that it is of."""


class Exchange:
    """Shared state, behind one lock.

    Attributes
    ----------
    facts:
        The encoder's facts; ``None`` while it is being loaded.
    busy_since:
        When the batch that is running began (``time.monotonic()``).
    """

    def __init__(self) -> None:
        self.facts: EncoderFacts | None = None
        self.busy_since: float | None = None
        self._changed = threading.Condition()
        self._connections: dict[int, Connection] = {}
        self._queue: FairQueue[Stream, int] = FairQueue()
        self._closed = False

    def add(self, connection: Connection) -> EncoderFacts | None:
        """Add a worker; return what to say to it, if there is something to say yet."""
        with self._changed:
            self._connections[connection.number] = connection
            return self.facts

    def remove(self, connection: Connection) -> None:
        """Remove a worker and what it has in the queue."""
        with self._changed:
            self._connections.pop(connection.number, None)
            for stream in self._queue.streams():
                if stream[0] == connection.number:
                    self._queue.drop(stream)

    def connections(self) -> list[Connection]:
        """Return all workers."""
        with self._changed:
            return list(self._connections.values())

    def connection(self, number: int) -> Connection | None:
        """Return a worker, unless it went away."""
        return self._connections.get(number)

    def slabs(self) -> dict[int, Slab | None]:
        """Return the workers' slabs by their numbers."""
        with self._changed:
            return {number: connection.slab for number, connection in self._connections.items()}

    def announce(self, facts: EncoderFacts) -> list[Connection]:
        """Publish the facts of the encoder, which is warm; return who is to be told."""
        with self._changed:
            self.facts = facts
            return list(self._connections.values())

    def put(self, stream: Stream, slots: Sequence[int]) -> None:
        """Queue slots of a stream."""
        with self._changed:
            self._queue.push(stream, slots, time.monotonic())
            self._changed.notify()

    def drop(self, stream: Stream) -> list[int]:
        """Take a stream's slots out of the queue and return them."""
        with self._changed:
            return self._queue.drop(stream)

    @property
    def depth(self) -> int:
        """Patches in the queue."""
        return len(self._queue)

    def take(self, policy: BatchPolicy) -> Batch | None:
        """Wait for a batch; ``None`` when the exchange is closed."""
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                oldest = self._queue.oldest()
                if count := policy.ready(len(self._queue), oldest, now):
                    self.busy_since = now
                    return self._queue.take(count)
                until = policy.wait_until(oldest)
                self._changed.wait(None if until is None else max(0.0, until - now))
        return None

    def close(self) -> None:
        """Let ``take`` return."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
