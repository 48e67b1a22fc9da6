"""One client's connection: a state machine in the event loop, which no client can make wait.

Everything that a client does or leaves undone ends by a deadline or by its pace: a head must be
complete soon, a body must go on coming, an answer must go on being read. A request reaches a thread
only when all of it is here.
"""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING

from serving.errors import Code, ServiceError
from serving.front import client_limits as limits
from serving.front.body import incomplete, too_slow
from serving.front.head import Head
from serving.front.incoming import Incoming
from serving.front.outgoing import Outgoing
from serving.front.pace import Pace
from serving.front.peer import Peer
from serving.front.phase import Phase
from serving.front.wsgi_bridge import VERSION, Answer, Received

if TYPE_CHECKING:
    from serving.front.front import HttpFront

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(asyncio.Protocol):
    """Reads requests, one after the other, and writes their answers.

    Attributes
    ----------
    incoming, outgoing:
        The request that arrives or is worked on, and the answers that are sent.
    """

    def __init__(self, front: HttpFront, sock: socket.socket) -> None:
        self._front = front
        self._peer = Peer(sock)
        self.incoming: Incoming | None = None
        self.outgoing: Outgoing | None = None
        now = time.monotonic()
        self.phase, self.since, self._until = Phase.SILENT, now, now + limits.HANDSHAKE_S
        self._linger_pace = Pace(1, limits.LINGER_PACE_S, now)
        self._ahead = bytearray()
        self._received: Received | None = None
        self._lingers = self._half_closed = self._version_sent = False
        self._keeps = self._goes_on = False
        self._linger_s = limits.LINGER_S

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._peer.attach(transport)
        self.outgoing = Outgoing(transport, self._peer.sock, time.monotonic())
        self._enter(Phase.SILENT, self._patience(limits.SILENCE_S))

    def data_received(self, data: bytes) -> None:
        """Take in bytes, wherever they belong."""
        if self.phase is Phase.LINGERING:
            self._linger_pace.note(len(data), time.monotonic())
        elif self.phase in (Phase.WORKING, Phase.ANSWERING) or self._goes_on:
            self._ahead += data
            if len(self._ahead) > limits.AHEAD_BYTES:
                self._peer.transport.pause_reading()
        elif self.phase is not Phase.CLOSING:
            self._read(data)

    def eof_received(self) -> bool:
        """Note that the client sends no more; return whether the connection stays open for an answer."""
        tls = self._peer.is_tls
        self._half_closed = True
        if self._goes_on:
            pass
        elif self.phase is Phase.BODY:
            self._refuse(incomplete())
        elif self.phase is Phase.WORKING and not tls:
            # Has it hung up, or only finished sending? Both look the same until something is sent. The first
            # bytes of the answer are known: a client that has gone resets the connection on them.
            self._version_sent = True
            self._peer.transport.write(VERSION)
        elif self.phase is not Phase.ANSWERING:
            return False
        return not tls

    def connection_lost(self, error: Exception | None) -> None:
        """Release everything; whoever works for this client is notified."""
        if self._received is not None and self.phase is Phase.WORKING:
            self._received.hang_up.happen()  # its body is counted until nobody works on it any more
        else:
            self._front.bodies.release(self)
        self.phase = Phase.CLOSING
        self._peer.detach()
        self.incoming = self.outgoing = None
        self._ahead.clear()
        self._front.leave(self)

    def pause_writing(self) -> None:
        """Stop writing: the client reads more slowly than is written."""
        if self.outgoing is not None:
            self.outgoing.pause()

    def resume_writing(self) -> None:
        """Write on."""
        if self.outgoing is not None:
            self.outgoing.resume()
            self._send_on(self.outgoing)

    # Reading.

    def _read(self, data: bytes) -> None:
        if self.incoming is None:
            self.incoming = Incoming()
            self._enter(Phase.HEAD, self._patience(limits.HEAD_S))
        incoming = self.incoming
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
            self._peer.transport.write(_CONTINUE)

    def _take_body(self, incoming: Incoming) -> None:
        now = time.monotonic()
        self._front.bodies.hold(self, incoming.collect(now))
        if incoming.is_complete:
            received = incoming.whole()
            self._front.bodies.complete(self)
            self._work(incoming, received)
        elif not self._front.bodies.has_room(self):
            self._peer.transport.pause_reading()
            incoming.stop(now)

    def go_on(self) -> None:
        """Read on, when there is room for the body again."""
        if self.incoming is not None and self.incoming.waits_for_room:
            self.incoming.go_on(time.monotonic())
            self._peer.transport.resume_reading()

    # Working.

    def _refuse(self, refusal: ServiceError) -> None:
        """Answer what cannot be served; what the client still sends is not read as a request."""
        self._lingers = True
        if refusal.code is Code.REQUEST_TIMEOUT_ERROR:
            self._linger_s = limits.SHORT_LINGER_S
        self._front.bodies.release(self)
        self.go_on()
        if self.incoming is not None and self.incoming.has_body:  # it has a route, which logs it
            self._work(self.incoming, self.incoming.without_body(refusal))
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
        if not self._peer.is_attached:
            return
        ended = self._half_closed and not self._ahead
        self._keeps = self._keeps and not (self._lingers or ended or self._front.is_draining)
        head = answer.head(keep_alive=self._keeps)
        head = head[len(VERSION) :] if self._version_sent else head
        self._enter(Phase.ANSWERING, 0)
        if self.outgoing is not None:
            self.outgoing.begin(head, answer.body, self.since)
            self._front.make_room_for_answers(self.outgoing)
            self._send_on(self.outgoing)

    def _send_on(self, out: Outgoing) -> None:
        if self.phase is Phase.ANSWERING and out.pump():
            self._finish()

    def _finish(self) -> None:
        """Go on after an answer."""
        self.incoming = None
        self._version_sent = False
        if self._keeps:
            self._enter(Phase.IDLE, self._patience(self._front.keep_alive_s))
            self._peer.transport.resume_reading()
            if self._ahead:  # not at once: a thousand requests in one packet are not a thousand calls deep
                self._goes_on = True
                asyncio.get_running_loop().call_soon(self._go_on_with_next)
        elif self._lingers and not self._half_closed:
            # Closed with bytes unread, the socket would reset the connection, and the client's kernel would
            # throw the answer away: so what still comes is read and dropped, as long as bytes move.
            self._enter(Phase.LINGERING, self._patience(self._linger_s))
            self._linger_pace = Pace(1, limits.LINGER_PACE_S, self.since)
            self._ahead.clear()
            self._peer.transport.resume_reading()
            if self._peer.transport.can_write_eof():
                self._peer.transport.write_eof()
        else:
            self.close()

    def _go_on_with_next(self) -> None:
        """Read the request that has come ahead of its time."""
        self._goes_on = False
        data = bytes(self._ahead)
        self._ahead.clear()
        if self._peer.is_attached:
            self._peer.transport.resume_reading()  # with TLS, more may have come meanwhile than is kept ahead
            self._read(data)
            if self._half_closed and self.phase in (Phase.HEAD, Phase.BODY):
                self._refuse(incomplete())

    # Ending.

    def close(self) -> None:
        """Close when what was written has been sent."""
        if self._peer.is_attached:
            self._enter(Phase.CLOSING, limits.DRAIN_WAIT_S)
        self._peer.close()

    def abort(self) -> None:
        """Close at once."""
        self._peer.abort(unsent=self.phase in (Phase.ANSWERING, Phase.CLOSING))

    def look(self, now: float) -> None:
        """End what has lasted too long."""
        if not self._peer.is_attached:
            if now > self._until:
                self._peer.close()
        elif self.phase is Phase.BODY:
            assert self.incoming is not None
            if refusal := self.incoming.overdue(now, self._front.admission_timeout_s):
                self._refuse(refusal)
        elif self.phase is Phase.WORKING:
            if self._half_closed and self._peer.has_reset:
                self.abort()
        elif self.phase in (Phase.ANSWERING, Phase.CLOSING):
            self._look_at_answer(now)
        elif self.phase is Phase.LINGERING:
            if self._linger_pace.is_lost(now) or now > self._until:
                self.abort()
        elif now > self._until:
            self._give_up_waiting()

    def hurry(self, now: float) -> None:
        """Wait no longer than needed for what has not been sent: the service ends."""
        self._until = min(self._until, now + limits.DRAIN_WAIT_S)

    def _look_at_answer(self, now: float) -> None:
        if self.outgoing is None:
            return
        if self.outgoing.is_stuck(now):
            self.abort()
        elif self.phase is Phase.CLOSING and now > self._until and not self.outgoing.unread:
            self._peer.abort(unsent=False)  # all was taken: only the client's TLS close_notify is missing

    def _give_up_waiting(self) -> None:
        if self.phase is Phase.HEAD:
            self._refuse(too_slow("The request's head did not arrive in time."))
        elif not self._peer.has_sent:  # else a request has just come
            self.close()

    def _patience(self, seconds: float) -> float:
        """Return how long to wait for a client that owes something: less, when the service ends."""
        return min(seconds, limits.DRAIN_WAIT_S) if self._front.is_draining else seconds

    def _enter(self, phase: Phase, seconds: float) -> None:
        self.phase, self.since = phase, time.monotonic()
        self._until = self.since + seconds
