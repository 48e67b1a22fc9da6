"""All connections of one worker: accepting, limits, deadlines, threads to work in, the drain."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import os
import resource
import socket
import ssl
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from serving.config.settings import Settings
from serving.errors import ServiceError
from serving.front import client_limits as limits
from serving.front.application import HttpApplication
from serving.front.connection import Connection
from serving.front.head import Head
from serving.front.idle_memory import IdleMemory, give_back_free_memory
from serving.front.outgoing import PIECE, Outgoing
from serving.front.phase import Phase
from serving.front.pieces import Pieces
from serving.front.turns import BodyBudget, Turns
from serving.front.wsgi_bridge import Answer, Received, answer_of, environ_of

LOOK_S = 0.25
"""How often deadlines are looked at."""

_CONTROL_THREADS = 4

_READ_THREADS = 8
_WAITING_READS = 256
"""Requests that read images: a browser sends six at a time, a page with two slides in several tabs more."""
_TLS_SHARE = 4
"""With TLS there may be only one connection where there may be so many without."""

_DESCRIPTORS_OF_OTHERS = 256
_QUEUE = 2048
"""Connections that the kernel may have accepted for us."""

_PAUSE_S = 0.2

log = logging.getLogger(__name__)


class HttpFront:
    """Serves an application on a listening socket, inside of an event loop.

    Parameters
    ----------
    tls:
        Makes the connections https.
    """

    def __init__(self, application: HttpApplication, settings: Settings, tls: ssl.SSLContext | None) -> None:
        self._application = application
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._listener: socket.socket | None = None
        self._connections: dict[Connection, None] = {}
        self._beginning: set[asyncio.Task[None]] = set()
        self._beside: dict[Pieces, None] = {}  # of which a thread makes a piece
        share = 1 if tls is None else _TLS_SHARE  # asyncio takes 0.3 MB for each
        http = settings.http
        self._most = _most_connections(http.max_connections // share)
        self._turns = Turns(http.predict_slots, http.waiting_slots, http.admission_timeout_s)
        self._predictions = ThreadPoolExecutor(http.predict_slots, thread_name_prefix="predict")
        self._read_turns = Turns(_READ_THREADS, _WAITING_READS, http.admission_timeout_s)
        self._readers = ThreadPoolExecutor(_READ_THREADS, thread_name_prefix="read")
        self._controls = ThreadPoolExecutor(_CONTROL_THREADS, thread_name_prefix="control")
        self._memory = IdleMemory(lambda: self._controls.submit(give_back_free_memory))
        self._grace_s = http.grace_s
        self.gate = application.gate
        self.refusal: Callable[[ServiceError], Answer] = application.refusal
        self.bodies = BodyBudget(2 * settings.requests.max_bytes)
        self.keep_alive_s = http.keep_alive_s
        self.admission_timeout_s = http.admission_timeout_s
        self.is_draining = False

    def listen(self, listener: socket.socket) -> None:
        """Accept connections."""
        listener.setblocking(False)
        self._listener = listener
        self._loop.add_reader(listener, self._accept)

    def look(self) -> None:
        """End what has lasted too long; call it every ``LOOK_S``."""
        now = time.monotonic()
        self._turns.expire(now)
        self._read_turns.expire(now)
        if self.bodies.used:
            self._memory.note_work(now)
        self._memory.look(now)
        for connection in list(self._connections):
            try:
                connection.look(now)
            except Exception:  # a fault of ours must not take the others with it
                log.exception("a connection is broken and closed")
                connection.abort()
        self._go_on_reading()

    async def drain(self) -> bool:
        """Stop accepting, finish what has begun; return whether that was done within the grace."""
        self.is_draining = True
        if self._listener is not None:
            for _ in range(_QUEUE):  # their clients have completed the handshake with the kernel
                if not self._accept():
                    break
            self._loop.remove_reader(self._listener)
            self._listener.close()
        end = time.monotonic() + self._grace_s
        for connection in list(self._connections):
            connection.hurry(time.monotonic())
        while self._connections and time.monotonic() < end:
            self.look()
            await asyncio.sleep(0.05)
        if self._connections:
            log.warning(
                "the grace is over; connections are cut", extra={"connections": len(self._connections)}
            )
        finished = not self._connections
        for connection in list(self._connections):
            connection.abort()
        await asyncio.sleep(0)
        for pool in (self._predictions, self._readers, self._controls):
            pool.shutdown(wait=False, cancel_futures=True)
        return finished

    # What connections call.

    def work(self, connection: Connection, head: Head, received: Received) -> None:
        """Have a request answered: a prediction when its turn comes, what needs no turn at once."""
        environ = environ_of(head, received, "http" if self._tls is None else "https")

        def run(pool: ThreadPoolExecutor, done: Callable[[], None]) -> None:
            def finished(future: Future[Answer]) -> None:
                with contextlib.suppress(RuntimeError):  # the loop has ended
                    self._loop.call_soon_threadsafe(self._finish, connection, future, done)

            pool.submit(answer_of, self._application.wsgi, environ).add_done_callback(finished)

        def refuse(error: ServiceError) -> None:
            received.body, received.refusal = None, error
            run(self._controls, _nothing)

        def gone() -> bool:
            return received.hang_up.has_happened

        if not received.takes_turn:
            run(self._controls, _nothing)
        elif received.is_reading:
            self._read_turns.ask(lambda: run(self._readers, self._read_turns.give_back), refuse, gone)
        else:
            self._turns.ask(lambda: run(self._predictions, self._predicted), refuse, gone)

    def make_piece(self, connection: Connection, pieces: Pieces) -> None:
        """Have the next piece of an answer made: a client that reads slowly holds no thread meanwhile."""

        def finished(future: Future[bytes]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._piece_made, connection, pieces, future)

        self._beside[pieces] = None
        self._predictions.submit(pieces.take).add_done_callback(finished)

    def give_up(self, pieces: Pieces) -> None:
        """Make no more of an answer; when a piece is just being made, after that."""
        if pieces not in self._beside and not pieces.has_ended:
            self._controls.submit(pieces.close)

    def _piece_made(self, connection: Connection, pieces: Pieces, future: Future[bytes]) -> None:
        self._beside.pop(pieces, None)
        if future.cancelled():  # at the end of all
            return
        if (error := future.exception()) is not None:
            log.error("an answer could not be finished", exc_info=error)
            connection.abort()
        elif connection.phase is Phase.CLOSING:
            self.give_up(pieces)
        else:
            connection.take_piece(future.result(), is_last=pieces.has_ended)

    def leave(self, connection: Connection) -> None:
        """Forget a connection that has been closed."""
        self._connections.pop(connection, None)

    def make_room_for_answers(self, newest: Outgoing) -> None:
        """Cut clients that do not read, when there are too many answers for them."""
        if not newest.held:
            return
        holders = [
            (out, c) for c in self._connections if (out := c.outgoing) and out is not newest and out.held
        ]
        over = newest.held + sum(out.held for out, _ in holders) - limits.ANSWER_BYTES
        for out, connection in sorted(holders, key=lambda holder: holder[0].since):
            if over <= 0:
                break
            over -= out.held
            connection.abort()

    def _finish(self, connection: Connection, future: Future[Answer], done: Callable[[], None]) -> None:
        if future.cancelled():  # at the end of all
            return
        done()
        if (error := future.exception()) is not None:
            log.error("unexpected fault", exc_info=error)
            self.bodies.release(connection)
            connection.abort()
        else:
            connection.answer(future.result())
        self._go_on_reading()

    def _predicted(self) -> None:
        """Let the next one have its turn. Probes of health leave nothing behind, and never end."""
        self._turns.give_back()
        self._memory.note_work(time.monotonic())

    def _go_on_reading(self) -> None:
        """Let bodies go on arriving, as many as there is room for."""
        promised = 0
        for connection in [c for c in self._connections if c.incoming and c.incoming.waits_for_room]:
            if self.bodies.has_room(connection, promised):
                promised += PIECE
                connection.go_on()

    # Accepting.

    def _accept(self) -> bool:
        """Take one connection, so that others are left to other workers; return whether there was one."""
        assert self._listener is not None
        try:
            sock, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:  # no descriptor or memory is free
            log.warning("a connection cannot be accepted", extra={"reason": type(error).__name__})
            self._close_some()
            self._pause_accepting()
            return False
        sock.setblocking(False)
        if len(self._connections) >= self._most:
            self._close_some()
        connection = Connection(self, sock)
        self._connections[connection] = None
        beginning = self._loop.create_task(self._begin(connection, sock))
        self._beginning.add(beginning)
        beginning.add_done_callback(self._beginning.discard)
        return True

    async def _begin(self, connection: Connection, sock: socket.socket) -> None:
        timeout = None if self._tls is None else limits.HANDSHAKE_S
        try:
            await self._loop.connect_accepted_socket(
                lambda: connection, sock, ssl=self._tls, ssl_handshake_timeout=timeout
            )
        except OSError:  # it hung up, spoke no TLS, or was too slow
            self.leave(connection)

    def _close_some(self) -> None:
        """Close the connections that have been silent for longest; never one that is worked for."""
        busy = (Phase.STREAMING, Phase.WORKING)
        idle = [c for c in self._connections if c.phase not in busy]
        for connection in heapq.nsmallest(max(1, self._most // 100), idle, key=_worth):
            connection.abort()
            self.leave(connection)

    def _pause_accepting(self) -> None:
        listener = self._listener
        if listener is None or self.is_draining:
            return
        self._loop.remove_reader(listener)
        self._loop.call_later(
            _PAUSE_S, lambda: None if self.is_draining else self._loop.add_reader(listener, self._accept)
        )


def _worth(connection: Connection) -> tuple[int, float]:
    return connection.phase, connection.since


def _most_connections(wanted: int) -> int:
    """Return how many connections there may be, by the descriptors that the process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    return max(16, min(wanted, soft - _DESCRIPTORS_OF_OTHERS - (os.cpu_count() or 1)))


def _nothing() -> None:
    pass
