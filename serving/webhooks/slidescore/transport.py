"""HTTP to one Slide Score server: bounded in time and bytes, never redirected, six requests at a time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.response import BaseHTTPResponse

from dicom_io.errors import ImageCode, ImageError
from dicom_io.waiting import Stop
from dicom_io.web.bounded_connection import Bounds, bounded, bounded_pool
from dicom_io.web.http import iter_body
from dicom_io.web.patience import Patience
from dicom_io.web.public_connection import is_metadata_service
from dicom_io.web.urls import StoreUrl

REQUESTS_AT_A_TIME = 6
"""What Slide Score asks its clients to keep to; browsers do."""

_BUSY = frozenset({429, 502, 504})
"""Worth another try. Not 503, which is how the tile server says that a cookie has expired."""


class SlideScoreStatus(ImageError):
    """The server did not answer with success; callers give ``status`` a meaning of their own."""

    def __init__(self, status: int, host: str) -> None:
        denied = status in (401, 403)
        super().__init__(
            ImageCode.INVALID_CREDENTIALS_ERROR if denied else ImageCode.HTTP_ERROR,
            f"Slide Score at {host} refused the analysis' token ({status}); start the analysis again."
            if denied
            else f"Slide Score at {host} answered {status}.",
        )
        self.status = status


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
    """

    method: str
    segments: tuple[str, ...]
    query: Mapping[str, str | int] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    limit: int = 1 << 20
    repeatable: bool = True


@dataclass(frozen=True, slots=True)
class Reply:
    """A successful answer; names of headers are in lower case."""

    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class Transport:
    """Sends requests to one server; safe to use from many threads, and shared by all jobs of a process.

    Parameters
    ----------
    server:
        Its address; a token never leads elsewhere.
    timeout_s:
        Longest wait for a connection and for each piece of an answer, in seconds.
    """

    def __init__(self, server: StoreUrl, timeout_s: float) -> None:
        self.server = server
        self._timeout_s = timeout_s
        self._turns = threading.BoundedSemaphore(REQUESTS_AT_A_TIME)
        self._pool = bounded_pool(num_pools=1, maxsize=REQUESTS_AT_A_TIME, block=False, retries=False)

    def send(self, call: Call, waits: Waits) -> Reply:
        """Send a request and return its answer.

        Raises
        ------
        SlideScoreStatus
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
            except SlideScoreStatus as error:
                if error.status not in _BUSY or not call.repeatable or not patience.again():
                    raise

    def _once(self, call: Call, waits: Waits) -> Reply:
        bounds = Bounds(waits.deadline, self._timeout_s, is_metadata_service, waits.stop)
        with self._translated(bounds), self._turn(bounds), bounded(bounds):
            response = self._pool.request(
                call.method,
                self._address(call),
                body=call.body,
                headers={"Accept-Encoding": "identity", **call.headers},
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=bounds.left(),
            )
            try:
                if not 200 <= response.status < 300:
                    raise SlideScoreStatus(response.status, self.server.host)
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
                    f"Slide Score at {self.server.host} sent more than {limit} bytes for one answer.",
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
                f"Slide Score at {self.server.host} could not be reached or did not answer in time.",
            ) from error
