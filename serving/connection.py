"""One client's connection: a state machine in the event loop, which no client can make wait.

Everything that a client does or leaves undone ends by a deadline or by its pace: a head must be
complete soon, a body must go on coming, an answer must go on being read. A request reaches a thread
only when all of it is here.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import fcntl
import select
import socket
import struct
import termios
import time
from typing import TYPE_CHECKING

from serving.body import Body, incomplete, is_gzip
from serving.errors import Code, ServiceError, unavailable
from serving.http_head import Head, RequestReader
from serving.pace import Pace
from serving.wsgi_bridge import VERSION, Answer, Received

if TYPE_CHECKING:
    from serving.http_front import HttpFront

SILENCE_S = 60.0
"""A new connection may be silent for so long, as those that browsers and proxies open in advance are."""

HEAD_S = 15.0
"""From a head's first byte to its last."""

HANDSHAKE_S = 10.0
BODY_PACE = (100_000, 10.0)
"""Bytes that must arrive in so many seconds, unless the body ends before."""

READING_PACE_S = 30.0
"""A client that has taken nothing of its answer for so long is cut; however long the whole takes."""

LINGER_PACE_S = 5.0
LINGER_S = 120.0
"""What a refused client still sends is read and dropped, so that it gets to read the answer."""

SHORT_LINGER_S = 2.0
"""For who was refused for being slow."""

DRAIN_HEAD_S = 2.0
FAREWELL_S = 0.5
"""A drain closes a silent connection only after so long: a request may be on its way."""

PIECE = 1 << 18
_AHEAD_BYTES = 1 << 16
_RESET = struct.pack("ii", 1, 0)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Phase(enum.IntEnum):
    """What a connection is doing; when there are too many, the lowest phases are closed first."""

    SILENT = 0
    HEAD = 1
    LINGERING = 2
    IDLE = 3
    CLOSING = 4
    ANSWERING = 5
    BODY = 6
    WORKING = 7


class Connection(asyncio.Protocol):
    """Reads requests, one after the other, and writes their answers.

    Attributes
    ----------
    since:
        When the phase began, or bytes moved in it last.
    """

    def __init__(self, front: HttpFront, sock: socket.socket) -> None:
        self._front = front
        self._sock = sock
        self._transport: asyncio.Transport | None = None
        now = time.monotonic()
        self.phase, self.since, self._until = Phase.SILENT, now, now + HANDSHAKE_S
        self._pace = Pace(1, HANDSHAKE_S, now)
        self._reader: RequestReader | None = None
        self._started = 0.0
        self._body: Body | None = None
        self._waits_for_room: float | None = None
        self._ahead = bytearray()
        self._received: Received | None = None
        self._lingers = self._half_closed = self._version_sent = False
        self._keeps = self._goes_on = False
        self._linger_s = LINGER_S
        self._paused = False
        self._pending = memoryview(b"")
        self._least_unread = 0

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=1, low=0)  # an answer is done when the kernel has all of it
        self._transport = transport
        self._enter(Phase.SILENT, FAREWELL_S if self._front.is_draining else SILENCE_S)

    def data_received(self, data: bytes) -> None:
        """Take in bytes, wherever they belong."""
        if self.phase is Phase.LINGERING:
            self._pace.note(len(data), time.monotonic())
        elif self.phase in (Phase.WORKING, Phase.ANSWERING) or self._goes_on:
            self._ahead += data
            if len(self._ahead) > _AHEAD_BYTES:
                self._open.pause_reading()
        elif self.phase is not Phase.CLOSING:
            self._read(data)

    def eof_received(self) -> bool:
        """Hear that the client sends no more; say whether it may still read."""
        tls = self._open.get_extra_info("sslcontext") is not None
        self._half_closed = True
        if self._goes_on:
            pass
        elif self.phase is Phase.BODY:
            self._refuse(incomplete())
        elif self.phase is Phase.WORKING and not tls:
            # Has it hung up, or only finished sending? Both look the same until something is sent. The first
            # bytes of the answer are known: a client that has gone resets the connection on them.
            self._version_sent = True
            self._open.write(VERSION)
        elif self.phase is not Phase.ANSWERING:
            return False
        return not tls

    def connection_lost(self, error: Exception | None) -> None:
        """Let go of everything; whoever works for this client is told."""
        if self._received is not None and self.phase is Phase.WORKING:
            self._received.hang_up.happen()
        self.phase = Phase.CLOSING
        self._transport = self._body = None
        self._pending = memoryview(b"")
        self._ahead.clear()
        self._front.bodies.release(self)
        self._front.leave(self)

    def pause_writing(self) -> None:
        """Hear that the client reads more slowly than is written."""
        self._paused = True

    def resume_writing(self) -> None:
        """Write on."""
        self._paused = False
        if self.phase is Phase.ANSWERING:
            self._pump()

    # Reading.

    def _read(self, data: bytes) -> None:
        if self._reader is None:
            self._reader, self._started = RequestReader(), time.perf_counter()
            self._enter(Phase.HEAD, DRAIN_HEAD_S if self._front.is_draining else HEAD_S)
        try:
            self._reader.feed(data)
            if self.phase is Phase.HEAD and self._reader.head is not None:
                self._admit(self._reader, self._reader.head)
            if self._body is not None:
                self._take_body(self._reader, self._body)
        except ServiceError as refusal:
            self._refuse(refusal)

    def _admit(self, reader: RequestReader, head: Head) -> None:
        try:
            wanted = self._front.gate.wants_body(head)
        except ServiceError as refusal:
            self._work(head, Received(self._started, refusal=refusal))
            return
        if not wanted:
            self._work(head, Received(self._started))
            return
        self._body = Body(self._front.gate.limit, gzip=is_gzip(head.header("content-encoding")))
        now = time.monotonic()
        self._enter(Phase.BODY, 0)
        self._pace = Pace(*BODY_PACE, now)
        self._front.bodies.hold(self, 0)
        if head.expects_continue and not reader.is_complete:
            self._open.write(_CONTINUE)

    def _take_body(self, reader: RequestReader, body: Body) -> None:
        now = time.monotonic()
        for piece in reader.body():
            body.add(piece)
            self._pace.note(len(piece), now)
        self._front.bodies.hold(self, body.size)
        if reader.is_complete:
            assert reader.head is not None
            received = Received(self._started, body.end())
            self._body = None
            self._front.bodies.complete(self)
            self._work(reader.head, received)
        elif not self._front.bodies.has_room(self):
            self._open.pause_reading()
            self._waits_for_room = now

    def go_on(self) -> None:
        """Read on, when there is room for the body again."""
        if self._waits_for_room is not None:
            self._waits_for_room = None
            self._pace.restart(time.monotonic())
            self._open.resume_reading()

    @property
    def waits_for_room(self) -> bool:
        """Whether reading has stopped until other bodies are let go."""
        return self._waits_for_room is not None

    # Working.

    def _refuse(self, refusal: ServiceError) -> None:
        """Answer what cannot be served; what the client still sends is not read as a request."""
        self._lingers = True
        if refusal.code is Code.REQUEST_TIMEOUT_ERROR:
            self._linger_s = SHORT_LINGER_S
        admitted, self._body = self._body is not None, None
        self._front.bodies.release(self)
        if self._waits_for_room is not None:
            self.go_on()
        if admitted and self._reader is not None and self._reader.head is not None:
            self._work(self._reader.head, Received(self._started, refusal=refusal))
        else:
            self._enter(Phase.WORKING, 0)
            self.answer(self._front.refusal(refusal))

    def _work(self, head: Head, received: Received) -> None:
        assert self._reader is not None
        self._keeps = head.keep_alive
        if not self._reader.is_complete:
            self._lingers = True
        self._ahead += self._reader.tail
        self._received = received
        self._enter(Phase.WORKING, 0)
        self._front.work(self, head, received)

    def answer(self, answer: Answer) -> None:
        """Send the answer to the request that was handed on."""
        if self._transport is None:
            return
        self._front.bodies.release(self)
        self._received = None
        ended = self._half_closed and not self._ahead
        self._keeps = self._keeps and not (self._lingers or ended or self._front.is_draining)
        head = answer.head(keep_alive=self._keeps)
        head = head[len(VERSION) :] if self._version_sent else head
        small = len(answer.body) < PIECE
        self._pending = memoryview(b"" if small else answer.body)
        self._enter(Phase.ANSWERING, 0)
        self._pace, self._least_unread = Pace(1, READING_PACE_S, self.since), len(answer.body) + len(head)
        self._open.write(head + answer.body if small else head)
        self._front.make_room_for_answers(self)
        if self._transport is not None:
            self._pump()

    @property
    def unsent(self) -> int:
        """Bytes of the answer that are held here."""
        return len(self._pending)

    def _pump(self) -> None:
        while self._pending and not self._paused:
            piece, self._pending = self._pending[:PIECE], self._pending[PIECE:]
            self._open.write(piece)
        if not self._paused and not self._pending:
            self._pending = memoryview(b"")
            self._finish()

    def _finish(self) -> None:
        """Go on after an answer."""
        self._reader = None
        self._version_sent = False
        if self._keeps:
            self._enter(Phase.IDLE, self._front.keep_alive_s)
            self._open.resume_reading()
            if self._ahead:  # not at once: a thousand requests in one packet are not a thousand calls deep
                self._goes_on = True
                asyncio.get_running_loop().call_soon(self._go_on_with_next)
        elif self._lingers and not self._half_closed:
            self._enter(Phase.LINGERING, self._linger_s)
            self._pace = Pace(1, LINGER_PACE_S, self.since)
            self._ahead.clear()
            self._open.resume_reading()
            if self._open.can_write_eof():
                self._open.write_eof()
        else:
            self.close()

    def _go_on_with_next(self) -> None:
        """Read the request that has come ahead of its time."""
        self._goes_on = False
        data = bytes(self._ahead)
        self._ahead.clear()
        if self._transport is not None:
            self._read(data)
            if self._half_closed and self.phase in (Phase.HEAD, Phase.BODY):
                self._refuse(incomplete())

    # Ending.

    def close(self) -> None:
        """Close when what was written has been sent."""
        if self._transport is None:  # asyncio holds the socket, and closes it when it hears of this
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)
            return
        self._enter(Phase.CLOSING, 0)
        self._pace = Pace(1, READING_PACE_S, self.since)
        self._least_unread = self._unread()
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is None:
            self.close()
            return
        if self.phase in (Phase.ANSWERING, Phase.CLOSING):
            # Else the kernel would go on keeping for minutes what is not read.
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    def look(self, now: float) -> None:
        """End what has lasted too long."""
        if self._transport is None:
            if now > self._until:
                self.close()
        elif self.phase is Phase.BODY:
            self._look_at_body(now)
        elif self.phase is Phase.WORKING:
            if self._half_closed and self._is_reset():
                self.abort()
        elif self.phase in (Phase.ANSWERING, Phase.CLOSING):
            self._look_at_reader(now)
        elif self.phase is Phase.LINGERING:
            if self._pace.is_lost(now) or now > self._until:
                self.abort()
        elif now > self._until:
            self._give_up_waiting()

    def hurry(self, now: float) -> None:
        """Hear that the service ends: wait no longer than needed for what has not been sent."""
        if self._transport is None or self.phase is Phase.HEAD:
            self._until = min(self._until, now + DRAIN_HEAD_S)
        elif self.phase in (Phase.SILENT, Phase.IDLE):
            self._until = min(self._until, now + FAREWELL_S)

    def _look_at_body(self, now: float) -> None:
        if self._waits_for_room is not None:
            if now - self._waits_for_room > self._front.admission_timeout_s:
                self._refuse(unavailable("The service's memory is in use; try again later.", retry_after_s=5))
        elif self._pace.is_lost(now):
            self._refuse(_too_slow("The request's body came too slowly; send it again."))

    def _look_at_reader(self, now: float) -> None:
        unread = self._unread()
        if unread < self._least_unread:
            self._least_unread = unread
            self._pace.restart(now)
            self.since = now
        if self._pace.is_lost(now):
            self.abort()

    def _give_up_waiting(self) -> None:
        if self.phase is Phase.HEAD:
            self._refuse(_too_slow("The request's head did not arrive in time."))
        elif not self._ioctl(termios.FIONREAD):  # else a request has just come
            self.close()

    def _unread(self) -> int:
        """Return how many bytes the client's machine has not taken yet, the kernel's among them."""
        return len(self._pending) + self._open.get_write_buffer_size() + self._ioctl(termios.TIOCOUTQ)

    def _ioctl(self, request: int) -> int:
        try:
            (amount,) = struct.unpack("i", fcntl.ioctl(self._sock.fileno(), request, b"\0" * 4))
        except (OSError, ValueError):
            return 0
        return int(amount)

    def _is_reset(self) -> bool:
        poll = select.poll()
        poll.register(self._sock.fileno(), 0)
        return any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0))

    def _enter(self, phase: Phase, seconds: float) -> None:
        self.phase, self.since = phase, time.monotonic()
        self._until = self.since + seconds

    @property
    def _open(self) -> asyncio.Transport:
        assert self._transport is not None
        return self._transport


def _too_slow(description: str) -> ServiceError:
    return ServiceError(Code.REQUEST_TIMEOUT_ERROR, description)
