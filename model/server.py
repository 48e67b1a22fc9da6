"""The encoder's side of the socket: collect patches of all workers, run batches, answer.

Two threads. The one that calls ``run`` does all socket input, so that the encoder answers while a
batch runs; the other owns the model. They share the fair queue.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import Protocol

import numpy as np

from model import wire
from model.batcher import (
    BatchPolicy,
    Embedded,
    FairQueue,
    Queued,
    bucket_sizes,
    embed_isolating,
    require_working,
)
from model.connection import Connection
from model.encoder import PATCH_SHAPE, Encoder, EncoderFacts
from model.slab import Slab, map_slab

HEARTBEAT_S = 0.25
"""How often every worker is told that the encoder answers."""


log = logging.getLogger(__name__)

Stream = tuple[int, int]
"""(number of the connection, number of the request on it)."""


class BatchObserver(Protocol):
    """Hears of every batch and of the queue's depth; called often, so it must be quick."""

    def batch(self, size: int, failed: int, seconds: float) -> None: ...
    def queue_depth(self, patches: int) -> None: ...


class IgnoreBatches:
    """An observer that does nothing."""

    def batch(self, size: int, failed: int, seconds: float) -> None:
        """Ignore it."""

    def queue_depth(self, patches: int) -> None:
        """Ignore it."""


class EncoderServer:
    """Serves one encoder to any number of workers.

    Parameters
    ----------
    load:
        Makes the encoder, warm; called once, in the encoder's own thread.
    listener:
        A listening Unix socket of type SOCK_SEQPACKET; the server owns it.
    max_wait_s:
        How long an idle encoder waits for the largest batch to fill.
    """

    def __init__(
        self,
        load: Callable[[], Encoder],
        listener: socket.socket,
        *,
        max_wait_s: float = 0.0,
        observer: BatchObserver | None = None,
    ) -> None:
        self._load = load
        self._listener = listener
        self._max_wait_s = max_wait_s
        self._observer: BatchObserver = observer or IgnoreBatches()
        self._facts: EncoderFacts | None = None
        self._numbers = itertools.count(1)
        self._connections: dict[int, Connection] = {}
        self._queue: FairQueue[Stream, int] = FairQueue()
        self._changed = threading.Condition()
        self._busy_since: float | None = None
        self._stopping = False
        self._failure: BaseException | None = None
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector = selectors.DefaultSelector()

    def stop(self) -> None:
        """Make ``run`` return; safe from a signal handler and from any thread."""
        self._stopping = True
        self._interrupt()

    def run(self) -> None:
        """Serve until ``stop``.

        Raises
        ------
        ModelError
            When the model cannot be loaded.
        EncoderBroken
            When it embeds nothing any more, as without memory or its device.
        Exception
            Whatever else ended the encoder's thread.
        """
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._wake, selectors.EVENT_READ, self._on_wake)
        encoding = threading.Thread(target=self._encode_forever, name="encode", daemon=True)
        encoding.start()
        try:
            self._serve()
        finally:
            self._stopping = True
            with self._changed:
                self._changed.notify_all()
            for connection in list(self._connections.values()):
                self._forget(connection)
            self._selector.close()
            self._listener.close()
            encoding.join()
            os.close(self._wake)
        if self._failure is not None:
            raise self._failure

    # Socket thread

    def _serve(self) -> None:
        next_beat = time.monotonic()
        while not self._stopping and self._failure is None:
            wait = max(0.0, next_beat - time.monotonic())
            for key, events in self._selector.select(wait):
                if isinstance(key.data, Connection):
                    self._on_connection(key.data, events)
                else:
                    key.data()
            now = time.monotonic()
            if now >= next_beat:
                self._beat(now)
                next_beat = now + HEARTBEAT_S

    def _interrupt(self) -> None:
        with contextlib.suppress(OSError):
            os.eventfd_write(self._wake, 1)

    def _on_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        for connection in list(self._connections.values()):
            self._watch(connection, writing=connection.flush())

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError as error:  # no descriptor is free, for one: the worker waits for the next beat
            log.warning(
                "a worker cannot be connected", extra={"reason": errno.errorcode.get(error.errno or 0)}
            )
            self._selector.unregister(self._listener)
            return
        sock.setblocking(False)
        connection = Connection(next(self._numbers), sock)
        self._selector.register(sock, selectors.EVENT_READ, connection)
        with self._changed:
            self._connections[connection.number] = connection
            facts = self._facts
        if facts is not None:
            connection.send(wire.Hello(facts))

    def _watch(self, connection: Connection, *, writing: bool) -> None:
        if not connection.closed:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if writing else 0)
            self._selector.modify(connection.sock, events, connection)

    def _beat(self, now: float) -> None:
        if self._listener not in self._selector.get_map():
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        if self._facts is None:
            return
        busy_since = self._busy_since
        status = wire.Status(0.0 if busy_since is None else now - busy_since)
        for connection in list(self._connections.values()):
            self._watch(connection, writing=connection.send(status))
        self._observer.queue_depth(len(self._queue))

    def _on_connection(self, connection: Connection, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._watch(connection, writing=connection.flush())
        if events & selectors.EVENT_READ:
            try:
                self._receive(connection)
            except BlockingIOError:
                return
            except ConnectionResetError:  # the worker ended without reading our last word
                self._forget(connection)
            except (OSError, ValueError, wire.WireError) as error:
                log.warning("worker connection closed", extra={"reason": type(error).__name__})
                self._forget(connection)

    def _receive(self, connection: Connection) -> None:
        packet, fds, _, _ = socket.recv_fds(connection.sock, wire.MAX_PACKET, 1)
        try:
            if not packet:
                self._forget(connection)
                return
            match wire.decode(packet):
                case wire.Attach(slots):
                    self._attach(connection, slots, fds)
                case wire.Submit(request, slot_numbers):
                    self._enqueue(connection, request, slot_numbers)
                case wire.Cancel(request):
                    self._cancel(connection, request)
                case other:
                    raise wire.WireError(f"unexpected {type(other).__name__}")
        finally:
            for fd in fds:
                os.close(fd)

    def _attach(self, connection: Connection, slots: int, fds: list[int]) -> None:
        if self._facts is None or len(fds) != 1 or not 1 <= slots <= wire.MAX_SLOTS:
            raise wire.WireError("bad slab")
        connection.slab = map_slab(fds[0], slots, self._facts.dimension)

    def _enqueue(self, connection: Connection, request: int, slots: tuple[int, ...]) -> None:
        slab = connection.slab
        if slab is None or any(slot >= slab.slots for slot in slots):
            raise wire.WireError("slot outside of the slab")
        with self._changed:
            self._queue.push((connection.number, request), slots, time.monotonic())
            self._changed.notify()

    def _cancel(self, connection: Connection, request: int) -> None:
        with self._changed:
            dropped = self._queue.drop((connection.number, request))
        if dropped:
            done = wire.Done(request, (), tuple(dropped), 0.0, 0.0)
            self._watch(connection, writing=connection.send(done))

    def _forget(self, connection: Connection) -> None:
        with self._changed:
            self._connections.pop(connection.number, None)
            for stream in self._queue.streams():
                if stream[0] == connection.number:
                    self._queue.drop(stream)
        if not connection.closed:
            self._selector.unregister(connection.sock)
            connection.close()

    # Encoder thread

    def _encode_forever(self) -> None:
        try:
            encoder = self._load()
            policy = BatchPolicy(bucket_sizes(encoder.facts.max_batch), self._max_wait_s)
            self._say_hello(encoder.facts)
            buffer = np.empty((policy.sizes[-1], *PATCH_SHAPE), np.uint8)
            while (batch := self._next_batch(policy)) is not None:
                self._run(encoder, batch, buffer)
        except BaseException as error:
            self._failure = error
            self._interrupt()

    def _say_hello(self, facts: EncoderFacts) -> None:
        with self._changed:
            self._facts = facts
            connections = list(self._connections.values())
        for connection in connections:
            connection.send(wire.Hello(facts))
        self._interrupt()

    def _next_batch(self, policy: BatchPolicy) -> list[Queued[Stream, int]] | None:
        with self._changed:
            while not self._stopping:
                now = time.monotonic()
                oldest = self._queue.oldest()
                if count := policy.ready(len(self._queue), oldest, now):
                    self._busy_since = now
                    return self._queue.take(count)
                until = policy.wait_until(oldest)
                self._changed.wait(None if until is None else max(0.0, until - now))
        return None

    def _run(self, encoder: Encoder, batch: list[Queued[Stream, int]], buffer: np.ndarray) -> None:
        started = time.monotonic()
        with self._changed:
            slabs = {number: connection.slab for number, connection in self._connections.items()}
        patches = buffer[: len(batch)]
        for patch, queued in zip(patches, batch, strict=True):
            slab = slabs.get(queued.stream[0])
            patch[...] = 0 if slab is None else slab.pixels[queued.item]
        embedded = embed_isolating(encoder.embed, patches, encoder.facts.dimension)
        if embedded.failed.any():
            require_working(encoder)
        seconds = time.monotonic() - started
        self._busy_since = None
        self._answer(batch, embedded, slabs, started, seconds)
        failed = int(embedded.failed.sum())
        if failed:
            log.warning("patches could not be embedded", extra={"patches": failed})
        self._observer.batch(len(batch), failed, seconds)

    def _answer(
        self,
        batch: list[Queued[Stream, int]],
        embedded: Embedded,
        slabs: dict[int, Slab | None],
        started: float,
        seconds: float,
    ) -> None:
        rows: dict[Stream, list[int]] = {}
        for row, queued in enumerate(batch):
            rows.setdefault(queued.stream, []).append(row)
        for (number, request), members in rows.items():
            connection, slab = self._connections.get(number), slabs.get(number)
            if connection is None or slab is None:
                continue  # the worker went away: nobody waits
            good = [row for row in members if not embedded.failed[row]]
            bad = [row for row in members if embedded.failed[row]]
            slab.vectors[[batch[row].item for row in good]] = embedded.vectors[good]
            done = wire.Done(
                request,
                tuple(batch[row].item for row in good),
                tuple(batch[row].item for row in bad),
                started - min(batch[row].since for row in members),
                seconds,
            )
            if connection.send(done):
                self._interrupt()
