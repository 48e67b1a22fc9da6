"""One client's connection: a state machine in the event loop, which no client can make wait.

Everything that a client does or leaves undone ends by a deadline or by its pace: a head must be
complete soon, a body must go on coming, an answer must go on being read. A request reaches a thread
only when all of it is here.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import termios
import time
from typing import TYPE_CHECKING

from serving.errors import Code, ServiceError
from serving.front import client_limits as limits
from serving.front.body import incomplete, too_slow
from serving.front.head import Head
from serving.front.incoming import Incoming
from serving.front.outgoing import Outgoing
from serving.front.pace import Pace
from serving.front.phase import Phase
from serving.front.socket_state import is_reset, reset_on_close, waiting_bytes
from serving.front.wsgi_bridge import VERSION, Answer, Received

if TYPE_CHECKING:
    from serving.front.front import HttpFront

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


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
        self._out: Outgoing | None = None
        now = time.monotonic()
        self.phase, self.since, self._until = Phase.SILENT, now, now + limits.HANDSHAKE_S
        self._linger_pace = Pace(1, limits.LINGER_PACE_S, now)
        self._incoming: Incoming | None = None
        self._ahead = bytearray()
        self._received: Received | None = None
        self._lingers = self._half_closed = self._version_sent = False
        self._keeps = self._goes_on = False
        self._linger_s = limits.LINGER_S

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._out = transport, Outgoing(transport, self._sock, time.monotonic())
        self._enter(Phase.SILENT, self._patience(limits.SILENCE_S))

    def data_received(self, data: bytes) -> None:
        """Take in bytes, wherever they belong."""
        if self.phase is Phase.LINGERING:
            self._linger_pace.note(len(data), time.monotonic())
        elif self.phase in (Phase.WORKING, Phase.ANSWERING) or self._goes_on:
            self._ahead += data
            if len(self._ahead) > limits.AHEAD_BYTES:
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
            self._received.hang_up.happen()  # its body is counted until nobody works on it any more
        else:
            self._front.bodies.release(self)
        self.phase = Phase.CLOSING
        self._transport = self._incoming = self._out = None
        self._ahead.clear()
        self._front.leave(self)

    def pause_writing(self) -> None:
        """Hear that the client reads more slowly than is written."""
        if self._out is not None:
            self._out.pause()

    def resume_writing(self) -> None:
        """Write on."""
        if self._out is not None:
            self._out.resume()
            self._send_on(self._out)

    # Reading.

    def _read(self, data: bytes) -> None:
        if self._incoming is None:
            self._incoming = Incoming()
            self._enter(Phase.HEAD, self._patience(limits.HEAD_S))
        incoming = self._incoming
        try:
            incoming.feed(data)
            if self.phase is Phase.HEAD and incoming.head is not None:
                self._admit(incoming, incoming.head)
            if incoming.has_body:
                self._take_body(incoming)
        except ServiceError as refusal:
            self._refuse(refusal)

    def _admit(self, incoming: Incoming, head: Head) -> None:
        try:
            wanted = self._front.gate.wants_body(head)
        except ServiceError as refusal:
            self._work(incoming, incoming.without_body(refusal))
            return
        if not wanted:
            self._work(incoming, incoming.without_body())
            return
        incoming.expect_body(head, self._front.gate.limit, time.monotonic())
        self._enter(Phase.BODY, 0)
        self._front.bodies.hold(self, 0)
        if head.expects_continue and not incoming.is_complete:
            self._open.write(_CONTINUE)

    def _take_body(self, incoming: Incoming) -> None:
        now = time.monotonic()
        self._front.bodies.hold(self, incoming.collect(now))
        if incoming.is_complete:
            received = incoming.whole()
            self._front.bodies.complete(self)
            self._work(incoming, received)
        elif not self._front.bodies.has_room(self):
            self._open.pause_reading()
            incoming.stop(now)

    def go_on(self) -> None:
        """Read on, when there is room for the body again."""
        if self._incoming is not None and self._incoming.waits_for_room:
            self._incoming.go_on(time.monotonic())
            self._open.resume_reading()

    @property
    def waits_for_room(self) -> bool:
        """Whether reading has stopped until other bodies are released."""
        return self._incoming is not None and self._incoming.waits_for_room

    # Working.

    def _refuse(self, refusal: ServiceError) -> None:
        """Answer what cannot be served; what the client still sends is not read as a request."""
        self._lingers = True
        if refusal.code is Code.REQUEST_TIMEOUT_ERROR:
            self._linger_s = limits.SHORT_LINGER_S
        self._front.bodies.release(self)
        self.go_on()
        if self._incoming is not None and self._incoming.has_body:  # it has a route, which logs it
            self._work(self._incoming, self._incoming.without_body(refusal))
        else:
            self._enter(Phase.WORKING, 0)
            self.answer(self._front.refusal(refusal))

    def _work(self, incoming: Incoming, received: Received) -> None:
        assert incoming.head is not None
        self._keeps = incoming.head.keep_alive
        if not incoming.is_complete:
            self._lingers = True
        self._ahead += incoming.tail
        self._received = received
        self._enter(Phase.WORKING, 0)
        self._front.work(self, incoming.head, received)

    def answer(self, answer: Answer) -> None:
        """Send the answer to the request that was handed on."""
        self._front.bodies.release(self)
        self._received = None
        if self._transport is None:
            return
        ended = self._half_closed and not self._ahead
        self._keeps = self._keeps and not (self._lingers or ended or self._front.is_draining)
        head = answer.head(keep_alive=self._keeps)
        head = head[len(VERSION) :] if self._version_sent else head
        self._enter(Phase.ANSWERING, 0)
        if self._out is not None:
            self._out.begin(head, answer.body, self.since)
            self._front.make_room_for_answers(self)
            self._send_on(self._out)

    @property
    def held(self) -> int:
        """Bytes of the answer that wait for the client."""
        return 0 if self._out is None else self._out.held

    @property
    def quiet_since(self) -> float:
        """When the client took something of its answer last."""
        return self.since if self._out is None else self._out.since

    def _send_on(self, out: Outgoing) -> None:
        if self.phase is Phase.ANSWERING and out.pump():
            self._finish()

    def _finish(self) -> None:
        """Go on after an answer."""
        self._incoming = None
        self._version_sent = False
        if self._keeps:
            self._enter(Phase.IDLE, self._patience(self._front.keep_alive_s))
            self._open.resume_reading()
            if self._ahead:  # not at once: a thousand requests in one packet are not a thousand calls deep
                self._goes_on = True
                asyncio.get_running_loop().call_soon(self._go_on_with_next)
        elif self._lingers and not self._half_closed:
            self._enter(Phase.LINGERING, self._patience(self._linger_s))
            self._linger_pace = Pace(1, limits.LINGER_PACE_S, self.since)
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
            self._open.resume_reading()  # with TLS, more may have come meanwhile than is kept ahead
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
        self._enter(Phase.CLOSING, limits.FAREWELL_S)
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is None:
            self.close()
            return
        if self.phase in (Phase.ANSWERING, Phase.CLOSING):
            reset_on_close(self._sock)
        self._transport.abort()

    def look(self, now: float) -> None:
        """End what has lasted too long."""
        if self._transport is None:
            if now > self._until:
                self.close()
        elif self.phase is Phase.BODY:
            self._look_at_body(now)
        elif self.phase is Phase.WORKING:
            if self._half_closed and is_reset(self._sock):
                self.abort()
        elif self.phase in (Phase.ANSWERING, Phase.CLOSING):
            self._look_at_answer(now)
        elif self.phase is Phase.LINGERING:
            if self._linger_pace.is_lost(now) or now > self._until:
                self.abort()
        elif now > self._until:
            self._give_up_waiting()

    def hurry(self, now: float) -> None:
        """Hear that the service ends: wait no longer than needed for what has not been sent."""
        self._until = min(self._until, now + limits.FAREWELL_S)

    def _look_at_body(self, now: float) -> None:
        assert self._incoming is not None
        if refusal := self._incoming.overdue(now, self._front.admission_timeout_s):
            self._refuse(refusal)

    def _look_at_answer(self, now: float) -> None:
        if self._out is None:
            return
        if self._out.is_stuck(now):
            self.abort()
        elif self.phase is Phase.CLOSING and now > self._until and not self._out.unread:
            self._open.abort()  # all has been taken: what TLS still waits for is the client's farewell

    def _give_up_waiting(self) -> None:
        if self.phase is Phase.HEAD:
            self._refuse(too_slow("The request's head did not arrive in time."))
        elif not waiting_bytes(self._sock, termios.FIONREAD):  # else a request has just come
            self.close()

    def _patience(self, seconds: float) -> float:
        """Return how long to wait for a client that owes something: less, when the service ends."""
        return min(seconds, limits.FAREWELL_S) if self._front.is_draining else seconds

    def _enter(self, phase: Phase, seconds: float) -> None:
        self.phase, self.since = phase, time.monotonic()
        self._until = self.since + seconds

    @property
    def _open(self) -> asyncio.Transport:
        assert self._transport is not None
        return self._transport
