"""What ends a connection: a deadline for each thing that a client owes, looked at again and again."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING

from serving.errors import ServiceError
from serving.front import client_limits as limits
from serving.front.body import too_slow
from serving.front.incoming import Incoming
from serving.front.lingering import Lingering
from serving.front.outgoing import Outgoing
from serving.front.peer import Peer
from serving.front.phase import Phase

if TYPE_CHECKING:
    from serving.front.front import HttpFront


class TimedConnection(asyncio.Protocol):
    """A connection as a clock sees it: its phase, since when, and until when.

    Attributes
    ----------
    incoming, outgoing:
        The request that arrives or is worked on, and the answers that are sent.
    phase, since:
        What it is doing, and since when (``time.monotonic()``).
    """

    def __init__(self, front: HttpFront, sock: socket.socket) -> None:
        self._front = front
        self._peer = Peer(sock)
        self.incoming: Incoming | None = None
        self.outgoing: Outgoing | None = None
        now = time.monotonic()
        self.phase, self.since, self._until = Phase.SILENT, now, now + limits.HANDSHAKE_S
        self._lingering = Lingering()
        self._half_closed = False

    def close(self) -> None:
        """Close when what was written has been sent."""
        if self._peer.is_attached:
            self._enter(Phase.CLOSING, limits.DRAIN_WAIT_S)
        self._peer.close()

    def abort(self) -> None:
        """Close at once."""
        self._peer.abort(unsent=self.phase in (Phase.ANSWERING, Phase.CLOSING))

    def _refuse(self, refusal: ServiceError) -> None:
        """Answer what cannot be served."""
        raise NotImplementedError

    def look(self, now: float) -> None:
        """End what has lasted too long."""
        if not self._peer.is_attached:
            if now > self._until:
                self._peer.close()
        elif self.phase in (Phase.BODY, Phase.STREAMING):
            assert self.incoming is not None
            if refusal := self.incoming.overdue(now, self._front.admission_timeout_s):
                self._refuse(refusal)
        elif self.phase is Phase.WORKING:
            if self._half_closed and self._peer.has_reset:
                self.abort()
        elif self.phase in (Phase.ANSWERING, Phase.CLOSING):
            self._look_at_answer(now)
        elif self.phase is Phase.LINGERING:
            if self._lingering.is_lost(now) or now > self._until:
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
