"""The encoder's side of the socket: collect patches of all workers, run batches, answer.

Two threads. The one that calls ``run`` does all socket input, so that the encoder answers while a
batch runs; the other owns the model. They share an exchange.
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

from model.encoder import Encoder
from model.transport import wire
from model.transport.connection import Connection
from model.transport.engine import BatchObserver, Encoding, IgnoreBatches
from model.transport.exchange import Exchange
from model.transport.slab import map_slab

HEARTBEAT_S = 0.25
"""How often every worker is told that the encoder answers."""

log = logging.getLogger(__name__)


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
        self._observer: BatchObserver = observer or IgnoreBatches()
        self._exchange = Exchange()
        self._encoding = Encoding(self._exchange, max_wait_s, self._observer, self._interrupt)
        self._numbers = itertools.count(1)
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
        encoding = threading.Thread(target=self._encode, name="encode", daemon=True)
        encoding.start()
        try:
            self._serve()
        finally:
            self._stopping = True
            self._exchange.close()
            for connection in self._exchange.connections():
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
        for connection in self._exchange.connections():
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
        if (facts := self._exchange.add(connection)) is not None:
            connection.send(wire.Hello(facts))

    def _watch(self, connection: Connection, *, writing: bool) -> None:
        if not connection.closed:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if writing else 0)
            self._selector.modify(connection.sock, events, connection)

    def _beat(self, now: float) -> None:
        if self._listener not in self._selector.get_map():
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        if self._exchange.facts is None:
            return
        busy_since = self._exchange.busy_since
        status = wire.Status(0.0 if busy_since is None else now - busy_since)
        for connection in self._exchange.connections():
            self._watch(connection, writing=connection.send(status))
        self._observer.queue_depth(self._exchange.depth)

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
        facts = self._exchange.facts
        if facts is None or len(fds) != 1 or not 1 <= slots <= wire.MAX_SLOTS:
            raise wire.WireError("bad slab")
        connection.slab = map_slab(fds[0], slots, facts.dimension)

    def _enqueue(self, connection: Connection, request: int, slots: tuple[int, ...]) -> None:
        slab = connection.slab
        if slab is None or any(slot >= slab.slots for slot in slots):
            raise wire.WireError("slot outside of the slab")
        self._exchange.put((connection.number, request), slots)

    def _cancel(self, connection: Connection, request: int) -> None:
        if dropped := self._exchange.drop((connection.number, request)):
            done = wire.Done(request, (), tuple(dropped), 0.0, 0.0)
            self._watch(connection, writing=connection.send(done))

    def _forget(self, connection: Connection) -> None:
        self._exchange.remove(connection)
        if not connection.closed:
            self._selector.unregister(connection.sock)
            connection.close()

    # Encoder thread

    def _encode(self) -> None:
        try:
            self._encoding.run(self._load)
        except BaseException as error:
            self._failure = error
            self._interrupt()
