"""HTTP to another system's server: bounded in time and bytes, never redirected, few requests at a time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.response import BaseHTTPResponse

from dicom_io.errors import ImageCode, ImageError
from dicom_io.waiting import Stop
from dicom_io.web.bounded_connection import Bounds, bounded, bounded_pool
from dicom_io.web.http import iter_body, retry_after
from dicom_io.web.patience import Patience
from dicom_io.web.public_connection import is_metadata_service
from dicom_io.web.urls import StoreUrl

_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Peer:
    """The other system, and how it is spoken of to those who read why something failed.

    Attributes
    ----------
    server:
        Its address; a token never leads elsewhere.
    name:
        What it is called.
    denied:
        What it has done where it answers 401 or 403, and what to do.
    busy:
        Statuses that are worth another try.
    at_a_time:
        Most requests at a time.
    """

    server: StoreUrl
    name: str
    denied: str
    busy: frozenset[int]
    at_a_time: int

    @property
    def shown(self) -> str:
        """Its name and host."""
        return f"{self.name} at {self.server.host}"


class StatusError(ImageError):
    """The server did not answer with success; callers give ``status`` a meaning of their own.

    Attributes
    ----------
    retry_after_s:
        When it asks to be asked again, in seconds; 0 where it does not say.
    """

    def __init__(self, status: int, peer: Peer, retry_after_s: float = 0.0) -> None:
        denied = status in (401, 403)
        super().__init__(
            ImageCode.INVALID_CREDENTIALS_ERROR if denied else ImageCode.HTTP_ERROR,
            f"{peer.shown} {peer.denied.format(status=status)}"
            if denied
            else f"{peer.shown} answered {status}.",
        )
        self.status = status
        self.retry_after_s = retry_after_s


class Unreached(ImageError):
    """No connection could be made: nothing was sent."""


class _Lost(ImageError):
    """The connection ended before its answer did."""


@dataclass(frozen=True, slots=True)
class Waits:
    """How long a request may take.

    Attributes
    ----------
    deadline:
        ``time.monotonic()`` seconds for everything, retries included.
    stop:
        Ends it before that.
    """

    deadline: float
    stop: Stop = field(default_factory=Stop)


@dataclass(frozen=True, slots=True)
class Call:
    """A request.

    Attributes
    ----------
    segments:
        Its path, below the server's address; each is percent-encoded.
    headers:
        Its own; tokens and cookies among them.
    limit:
        Most bytes of the answer.
    repeatable:
        Whether a lost answer may be asked for again.
    before_last:
        Called right before the last bytes of the body are sent. What it raises ends the request, which the
        server then has in part only.
    """

    method: str
    segments: tuple[str, ...]
    query: Mapping[str, str | int] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    limit: int = 1 << 20
    repeatable: bool = True
    before_last: Callable[[], None] | None = field(default=None, repr=False)

    def content(self) -> bytes | Iterator[bytes] | None:
        """Return the body, as urllib3 takes it."""
        return self.body if self.before_last is None or not self.body else self._pieces(self.body)

    @property
    def framing(self) -> Mapping[str, str]:
        """The headers that say how long a body is that comes in pieces."""
        return {} if self.before_last is None or not self.body else {"Content-Length": str(len(self.body))}

    def _pieces(self, body: bytes) -> Iterator[bytes]:
        # One by one: the time for each is bounded, not that for all.
        for start in range(0, len(body) - 1, _PIECE):
            yield body[start : min(start + _PIECE, len(body) - 1)]
        if self.before_last is not None:
            self.before_last()
        yield body[-1:]


@dataclass(frozen=True, slots=True)
class Reply:
    """A successful answer; names of headers are in lower case."""

    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class Transport:
    """Sends requests to one server; safe to use from many threads, and shared by all jobs of a process.

    Parameters
    ----------
    timeout_s:
        Longest wait for a connection and for each piece of an answer, in seconds.
    """

    def __init__(self, peer: Peer, timeout_s: float) -> None:
        self.peer = peer
        self._timeout_s = timeout_s
        self._turns = threading.BoundedSemaphore(peer.at_a_time)
        self._pool = bounded_pool(num_pools=1, maxsize=peer.at_a_time, block=False, retries=False)

    @property
    def server(self) -> StoreUrl:
        """The server's address."""
        return self.peer.server

    def send(self, call: Call, waits: Waits) -> Reply:
        """Send a request and return its answer.

        Raises
        ------
        StatusError
            When the answer is not a success; a redirect is none.
        Unreached
            When no connection could be made.
        ImageError
            HTTP_ERROR for anything else that went wrong.
        """
        patience = Patience(waits.deadline, waits.stop)
        while True:
            try:
                return self._once(call, waits)
            except Unreached:
                if not patience.again():
                    raise
            except _Lost:
                if not call.repeatable or not patience.again():
                    raise
            except StatusError as error:
                if error.status not in self.peer.busy or not call.repeatable or not patience.again():
                    raise

    def _once(self, call: Call, waits: Waits) -> Reply:
        bounds = Bounds(waits.deadline, self._timeout_s, is_metadata_service, waits.stop)
        with self._translated(bounds), self._turn(bounds), bounded(bounds):
            response = self._pool.request(
                call.method,
                self._address(call),
                body=call.content(),
                headers={"Accept-Encoding": "identity", **call.framing, **call.headers},
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=bounds.left(),
            )
            try:
                if not 200 <= response.status < 300:
                    raise StatusError(response.status, self.peer, retry_after(response))
                body = self._read(response, call.limit)
                headers = {name.lower(): value for name, value in response.headers.items()}
            except BaseException:
                response.close()
                raise
            response.release_conn()
            return Reply(headers, body)

    def _address(self, call: Call) -> str:
        path = "".join(f"/{quote(segment, safe='')}" for segment in call.segments)
        return f"{self.server}{path}{'?' if call.query else ''}{urlencode(call.query)}"

    @contextlib.contextmanager
    def _turn(self, bounds: Bounds) -> Iterator[None]:
        # The whole time that is left, not a piece's: others may upload.
        if not self._turns.acquire(timeout=max(bounds.left(), 0.0)):
            raise TimeoutError("no turn in time")
        try:
            yield
        finally:
            self._turns.release()

    def _read(self, response: BaseHTTPResponse, limit: int) -> bytes:
        body = bytearray()
        for piece in iter_body(response):
            body += piece
            if len(body) > limit:
                raise ImageError(
                    ImageCode.HTTP_ERROR,
                    f"{self.peer.shown} sent more than {limit} bytes for one answer.",
                )
        return bytes(body)

    @contextlib.contextmanager
    def _translated(self, bounds: Bounds) -> Iterator[None]:
        try:
            yield
        except (HTTPError, OSError) as error:
            kind: type[ImageError] = Unreached if isinstance(error, NewConnectionError) else _Lost
            if bounds.stop.is_set():
                kind = ImageError  # a connection that this side has ended is not tried again
            raise kind(
                ImageCode.HTTP_ERROR,
                f"{self.peer.shown} could not be reached or did not answer in time.",
            ) from error
