"""A request on its way in: its head, then as much of its body as there is room for."""

from __future__ import annotations

import time
from collections.abc import Callable

from serving.errors import ServiceError, unavailable
from serving.front import client_limits as limits
from serving.front.body import Body, incomplete, is_gzip, too_slow
from serving.front.body_stream import BodyStream
from serving.front.head import Head, RequestReader
from serving.front.pace import Pace
from serving.front.wsgi_bridge import Received


class Incoming:
    """Reads one request; the counterpart of ``Outgoing``.

    A body has a pace to keep, but for the time in which the service itself does not read it because
    other bodies fill its memory: then the wait has a limit, and the client is not blamed.

    Attributes
    ----------
    waits_for_room:
        Whether reading has stopped until other bodies are released.
    """

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._reader = RequestReader()
        self._body: Body | None = None
        self._stream: BodyStream | None = None
        self._pace = Pace(*limits.BODY_PACE, 0)
        self._stopped: float | None = None

    @property
    def head(self) -> Head | None:
        """The head, once it is complete."""
        return self._reader.head

    @property
    def is_complete(self) -> bool:
        """Whether all of the request has arrived."""
        return self._reader.is_complete

    @property
    def tail(self) -> bytes:
        """What came after the request."""
        return self._reader.tail

    @property
    def has_body(self) -> bool:
        """Whether a body is being collected."""
        return self._body is not None

    @property
    def waits_for_room(self) -> bool:
        """Whether reading has stopped until other bodies are released."""
        return self._stopped is not None and self._stream is None

    @property
    def is_stopped(self) -> bool:
        """Whether reading has stopped, for whatever reason."""
        return self._stopped is not None

    def feed(self, data: bytes) -> None:
        """Take in bytes.

        Raises
        ------
        ServiceError
            When they are not a request.
        """
        self._reader.feed(data)

    def expect_body(self, head: Head, limit: int, now: float) -> None:
        """Begin to collect the body, of ``limit`` bytes at most."""
        self._body = Body(limit, gzip=is_gzip(head.header("content-encoding")))
        self._pace = Pace(*limits.BODY_PACE, now)

    def collect(self, now: float) -> int:
        """Add what has arrived to the body; return the bytes that it holds.

        Raises
        ------
        ServiceError
            When the body is too large, or is not the gzip that it is said to be.
        """
        assert self._body is not None
        for piece in self._reader.body():
            self._body.add(piece)
            self._pace.note(len(piece), now)
        return self._body.size

    def streamed(self, now: float, wake: Callable[[], None]) -> Received:
        """Return the request, whose body is read while it comes; ``wake`` is called when there is room."""
        self._stream = BodyStream(wake)
        self._pace = Pace(*limits.BODY_PACE, now)
        return Received(self._started, stream=self._stream, takes_turn=True)

    def pour(self, now: float) -> bool:
        """Hand what has arrived to who reads it; return whether there is room for more."""
        assert self._stream is not None
        pieces = self._reader.body()
        self._pace.note(sum(len(piece) for piece in pieces), now)
        has_room = self._stream.put(pieces)
        if self.is_complete:
            self._stream.end()
        return has_room

    def break_off(self, why: ServiceError | None = None) -> None:
        """Tell who reads the body that the rest of it does not come."""
        if self._stream is not None:
            self._stream.fail(why or incomplete())

    def whole(self) -> Received:
        """Return the request that has arrived completely, and keep nothing of its body.

        Raises
        ------
        ServiceError
            When compressed bytes do not come to their end.
        """
        assert self._body is not None
        received = Received(self._started, self._body.end(), takes_turn=True)
        self._body = None
        return received

    def without_body(
        self, refusal: ServiceError | None = None, *, takes_turn: bool = False, is_reading: bool = False
    ) -> Received:
        """Return the request as one whose body nobody wants, and keep nothing of it."""
        self._body = None
        return Received(self._started, refusal=refusal, takes_turn=takes_turn, is_reading=is_reading)

    def stop(self, now: float) -> None:
        """Stop reading until there is room for more of the body."""
        self._stopped = now

    def go_on(self, now: float) -> None:
        """Read on: the pace is measured from now."""
        self._stopped = None
        self._pace.restart(now)

    def overdue(self, now: float, patience_s: float) -> ServiceError | None:
        """Return the refusal of a body that has come too slowly, or waited for room for too long."""
        if self._stopped is None:
            if self._pace.is_lost(now):
                return too_slow("The request's body came too slowly; send it again.")
        elif self._stream is None and now - self._stopped > patience_s:
            return unavailable("The service's memory is in use; try again later.", retry_after_s=5)
        return None
