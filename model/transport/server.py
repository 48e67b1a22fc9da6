"""The encoder's side of the socket: collect patches of all clients, run batches, answer.

Two threads. The one that calls ``run`` does all socket input, so that the encoder shows that it is alive
while a batch runs; the engine's owns the model. They share an exchange and nothing else. (Beside a device the
engine has a second thread; see ``staging``.)
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import selectors
import socket
import threading
import time
import weakref
from pathlib import Path

from model.transport import wire
from model.transport.engine import BatchObserver, Engine, IgnoreBatches, Load
from model.transport.exchange import Connection, Exchange
from model.transport.liveness import HEARTBEAT_S

_BACKLOG = 128

log = logging.getLogger(__name__)


def listen(address: str) -> socket.socket:
    """Return a socket that listens on a path, which is taken over from a process that died."""
    # A Unix socket's file outlives its process, and binding to one that exists fails.
    with contextlib.suppress(FileNotFoundError):
        Path(address).unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(address)
    listener.listen(_BACKLOG)
    return listener


class EncoderServer:
    """Serves one encoder to any number of clients.

    Parameters
    ----------
    load:
        Makes the encoder, warm; called once, in the engine's thread.
    listener:
        A listening Unix socket of type SOCK_SEQPACKET; the server owns it.
    max_wait_s:
        How long an idle encoder waits for the largest batch to fill.
    """

    def __init__(
        self,
        load: Load,
        listener: socket.socket,
        *,
        max_wait_s: float = 0.0,
        observer: BatchObserver | None = None,
    ) -> None:
        self._load = load
        self._listener = listener
        self._observer: BatchObserver = observer or IgnoreBatches()
        self._exchange = Exchange(self._interrupt)
        self._engine = Engine(self._exchange, max_wait_s, self._observer)
        # Plain attributes, without a lock: each is set once by any thread, followed by ``_interrupt``, and
        # read by the socket thread when that wakes.
        self._stopping = False
        self._failure: BaseException | None = None
        # Closed with the last reference to the server, not by ``run``: a thread that is in ``stop`` meanwhile
        # would write into whatever file gets the number next.
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        weakref.finalize(self, os.close, self._wake)
        self._selector = selectors.DefaultSelector()

    def stop(self) -> None:
        """Make ``run`` return; safe from a signal handler and from any thread."""
        # No lock may be taken here: a signal handler runs in the thread that may hold it.
        self._stopping = True
        self._interrupt()

    def run(self) -> None:
        """Serve until ``stop``.

        Raises
        ------
        ModelError
            When the model cannot be loaded.
        EncoderBroken
            When it embeds nothing any more, as without memory or its device, or misses golden patches.
        Exception
            Whatever else ended the engine's thread.
        """
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._wake, selectors.EVENT_READ, self._on_wake)
        engine = threading.Thread(target=self._run_engine, name="encode", daemon=True)
        engine.start()
        try:
            self._serve()
        finally:
            self._shut_down(engine)
        if self._failure is not None:
            raise self._failure

    def _shut_down(self, engine: threading.Thread) -> None:
        """Close the sockets first, so that nobody waits for an answer, and then let the engine finish."""
        self._exchange.close()
        for connection in self._exchange.connections():
            self._forget(connection)
        self._selector.close()
        self._listener.close()
        engine.join()  # a batch cannot be interrupted; its answer goes nowhere

    def _run_engine(self) -> None:
        try:
            self._engine.run(self._load)
        except BaseException as error:
            self._failure = error
            self._interrupt()

    def _interrupt(self) -> None:
        with contextlib.suppress(BlockingIOError):  # the counter is full: it wakes all the same
            os.eventfd_write(self._wake, 1)

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
                self._beat()
                next_beat = now + HEARTBEAT_S

    def _on_wake(self) -> None:
        # The counter is reset before anything is looked at: what happens meanwhile wakes us once more.
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        for connection in self._exchange.connections():
            self._flush(connection)

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError as error:  # as when no descriptor is free
            reason = errno.errorcode.get(error.errno or 0)
            log.warning("a client cannot be connected", extra={"reason": reason})
            # The client stays in the backlog, so select would return at once, and again: wait for a beat.
            self._selector.unregister(self._listener)
            return
        sock.setblocking(False)
        connection = self._exchange.connect(sock)
        self._selector.register(sock, selectors.EVENT_READ, connection)

    def _flush(self, connection: Connection) -> None:
        """Send what is kept for a client, and select for writing only while some of it is left."""
        left = self._exchange.flush(connection)
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if left else 0)
        self._selector.modify(connection.sock, events, connection)

    def _beat(self) -> None:
        if self._listener not in self._selector.get_map():
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._exchange.beat()
        self._observer.queue_depth(self._exchange.depth)

    def _on_connection(self, connection: Connection, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._flush(connection)
        if events & selectors.EVENT_READ:
            try:
                self._receive(connection)
            except BlockingIOError:
                return
            except ConnectionResetError:  # the client ended without reading our last message
                self._forget(connection)
            except (OSError, ValueError, wire.WireError) as error:
                log.warning("client connection closed", extra={"reason": type(error).__name__})
                self._forget(connection)

    def _receive(self, connection: Connection) -> None:
        packet, fds, _, _ = socket.recv_fds(connection.sock, wire.MAX_PACKET, 1)
        try:
            if not packet:
                self._forget(connection)
                return
            match wire.decode(packet):
                case wire.Attach(slots):
                    if len(fds) != 1:
                        raise wire.WireError("a slab without its descriptor")
                    self._exchange.attach(connection, fds[0], slots)
                case wire.Submit(request, slot_numbers):
                    self._exchange.submit(connection, request, slot_numbers)
                case wire.Cancel(request):
                    self._exchange.cancel(connection, request)
                case other:
                    raise wire.WireError(f"unexpected {type(other).__name__}")
        finally:
            # With any packet, also one that is refused: descriptors were opened here as it was received.
            for fd in fds:
                os.close(fd)

    def _forget(self, connection: Connection) -> None:
        self._selector.unregister(connection.sock)  # needs the descriptor, so before it is closed
        self._exchange.disconnect(connection)
