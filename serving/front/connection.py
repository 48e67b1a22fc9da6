"""One client's connection: a state machine in the event loop, which no client can make wait.

Everything that a client does or leaves undone ends by a deadline or by its pace: a head must be
complete soon, a body must go on coming, an answer must go on being read. A request reaches a thread
only when all of it is here, but for bodies of any size, which are read while they come.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import TYPE_CHECKING

from serving.errors import Code, ServiceError
from serving.front import client_limits as limits
from serving.front.application import Course
from serving.front.body import incomplete
from serving.front.head import Head
from serving.front.incoming import Incoming
from serving.front.outgoing import Outgoing
from serving.front.phase import Phase
from serving.front.pieces import Pieces
from serving.front.timed_connection import TimedConnection
from serving.front.wsgi_bridge import VERSION, Answer, Received

if TYPE_CHECKING:
    from serving.front.front import HttpFront

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(TimedConnection):
    """Reads requests, one after the other, and writes their answers."""

    def __init__(self, front: HttpFront, sock: socket.socket) -> None:
        super().__init__(front, sock)
        self._ahead = bytearray()
        self._received: Received | None = None
        self._rest: Pieces | None = None
        self._version_sent = False
        self._keeps = self._goes_on = False

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
            self._lingering.note(len(data), time.monotonic())
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
        elif self.phase in (Phase.BODY, Phase.STREAMING):
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
        if self.incoming is not None:
            self.incoming.break_off()
        if self._rest is not None:
            self._front.give_up(self._rest)
        if self._received is not None and self.phase in (Phase.STREAMING, Phase.WORKING):
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
            if self.phase is Phase.STREAMING:
                self._pour(incoming)
            elif incoming.has_body:
                self._take_body(incoming)
        except ServiceError as refusal:
            self._refuse(refusal)

    def _admit(self, incoming: Incoming, head: Head) -> None:
        try:
            course = self._front.gate.course(head)
        except ServiceError as refusal:
            self._work(incoming, incoming.without_body(refusal))
            return
        now = time.monotonic()
        if course not in (Course.WHOLE, Course.STREAMED):
            takes_turn, is_reading = course is not Course.AT_ONCE, course is Course.READING
            self._work(incoming, incoming.without_body(takes_turn=takes_turn, is_reading=is_reading))
            return
        if course is Course.WHOLE:
            incoming.expect_body(head, self._front.gate.limit, now)
            self._enter(Phase.BODY, 0)
            self._front.bodies.hold(self, 0)
        else:
            loop = asyncio.get_running_loop()
            self._hand_on(head, incoming.streamed(now, lambda: self._wake(loop)), Phase.STREAMING)
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

    def _pour(self, incoming: Incoming) -> None:
        now = time.monotonic()
        has_room = incoming.pour(now)
        if incoming.is_complete:
            self._ahead += incoming.tail
            self._enter(Phase.WORKING, 0)
        elif not has_room:
            self._peer.transport.pause_reading()
            incoming.stop(now)

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have more of a body read; called by whoever works on it, in a thread."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(self.go_on)

    def go_on(self) -> None:
        """Read on, when there is room for the body again."""
        if self.incoming is not None and self.incoming.is_stopped and self._peer.is_attached:
            self.incoming.go_on(time.monotonic())
            self._peer.transport.resume_reading()

    # Working.

    def _refuse(self, refusal: ServiceError) -> None:
        """Answer what cannot be served; what the client still sends is not read as a request."""
        self._lingering.is_due = True
        if refusal.code is Code.REQUEST_TIMEOUT_ERROR:
            self._lingering.seconds = limits.SHORT_LINGER_S
        self._front.bodies.release(self)
        self.go_on()
        if self.phase is Phase.STREAMING and self.incoming is not None:  # who works on it answers
            self.incoming.break_off(refusal)
            self._enter(Phase.WORKING, 0)
            return
        if self.incoming is not None and self.incoming.has_body:  # it has a route, which logs it
            self._work(self.incoming, self.incoming.without_body(refusal))
        else:
            self._enter(Phase.WORKING, 0)
            self.answer(self._front.refusal(refusal))

    def _work(self, incoming: Incoming, received: Received) -> None:
        assert incoming.head is not None
        if not incoming.is_complete:
            self._lingering.is_due = True
        self._ahead += incoming.tail
        self._hand_on(incoming.head, received, Phase.WORKING)

    def _hand_on(self, head: Head, received: Received, phase: Phase) -> None:
        self._keeps = head.keep_alive
        received.is_local = self._peer.is_of_this_machine
        self._received = received
        self._enter(phase, 0)
        self._front.work(self, head, received)

    def answer(self, answer: Answer) -> None:
        """Send the answer to the request that was handed on."""
        self._front.bodies.release(self)
        self._received, self._rest = None, answer.rest
        if not self._peer.is_attached or self.outgoing is None:
            if answer.rest is not None:
                self._front.give_up(answer.rest)
            return
        if self.phase is Phase.STREAMING and self.incoming is not None:
            self._lingering.is_due = True
            self.incoming.break_off()
        chunked = answer.is_unsized and self._speaks_1_1
        ended = (self._half_closed and not self._ahead) or (answer.is_unsized and not chunked)
        self._keeps = self._keeps and not (self._lingering.is_due or ended or self._front.is_draining)
        head = answer.head(keep_alive=self._keeps, chunked=chunked)
        head = head[len(VERSION) :] if self._version_sent else head
        self._enter(Phase.ANSWERING, 0)
        rest = answer.rest
        more = None if rest is None else lambda: self._front.make_piece(self, rest)
        self.outgoing.begin(head, answer.body, self.since, more, chunked=chunked)
        self._front.make_room_for_answers(self.outgoing)
        self._send_on(self.outgoing)

    def take_piece(self, piece: bytes, *, is_last: bool) -> None:
        """Send on an answer that is made while it is sent."""
        if is_last:
            self._rest = None
        if self.outgoing is not None and self._peer.is_attached:
            self.outgoing.take(piece, time.monotonic(), is_last=is_last)
            self._send_on(self.outgoing)

    @property
    def _speaks_1_1(self) -> bool:
        head = None if self.incoming is None else self.incoming.head
        return head is not None and head.version >= (1, 1)

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
        elif self._lingering.is_due and not self._half_closed:
            self._enter(Phase.LINGERING, self._patience(self._lingering.seconds))
            self._lingering.begin(self.since)
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
            if self._half_closed and self.phase in (Phase.HEAD, Phase.BODY, Phase.STREAMING):
                self._refuse(incomplete())
