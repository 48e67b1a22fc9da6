"""Between connections and the WSGI application: a request's environ, an answer's bytes."""

from __future__ import annotations

import functools
import io
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from model.transport.stream import Abandoned
from serving.errors import ServiceError
from serving.front.body_stream import BodyStream
from serving.front.hang_up import HangUp
from serving.front.head import Head
from serving.front.pieces import Pieces

RECEIVED = "pathserve.received"
"""Where a request's ``Received`` is in the WSGI environ."""

VERSION = b"HTTP/1.1 "
"""What every answer begins with."""

_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "date"})

_BODILESS = ("204", "304")

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


@dataclass(slots=True)
class Received:
    """What the application may want to know of a request beside its head.

    Attributes
    ----------
    body:
        All of it; taken out by who reads it, so that nobody else holds it.
    refusal:
        Why the request is to be refused, its body unread.
    started:
        When its first byte came (``time.perf_counter()``).
    arrived:
        When its last byte came (``time.monotonic()``); of a body that is read while it comes, the first.
    stream:
        The body, when it is read while it comes.
    takes_turn:
        Whether it waits for its turn.
    is_reading:
        Whether that is a turn of those who only read.
    is_local:
        Whether it comes from this machine.
    """

    started: float
    body: bytearray | None = None
    refusal: ServiceError | None = None
    hang_up: HangUp = field(default_factory=HangUp)
    arrived: float = field(default_factory=time.monotonic)
    stream: BodyStream | None = None
    takes_turn: bool = False
    is_reading: bool = False
    is_local: bool = False

    def require_wanted(self) -> None:
        """Raise when there is nothing to do for the request.

        Raises
        ------
        ServiceError
            When the request is to be refused.
        Abandoned
            When nobody waits for the answer any more.
        """
        if self.hang_up.has_happened:
            raise Abandoned
        if self.refusal is not None:
            raise self.refusal

    def take_body(self) -> bytearray:
        """Return the body, once.

        Raises
        ------
        ServiceError
            When the request is to be refused.
        Abandoned
            When nobody waits for the answer any more.
        """
        self.require_wanted()
        body, self.body = self.body, None
        return bytearray() if body is None else body


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer before it is known what becomes of the connection.

    Attributes
    ----------
    body:
        All of it, or its beginning.
    rest:
        Makes what is left of it.
    """

    status: str
    headers: list[tuple[str, str]]
    body: bytes
    rest: Pieces | None = None

    @property
    def is_unsized(self) -> bool:
        """Whether it is not known how long it will be."""
        return self.rest is not None and not _has_length(self.headers)

    def head(self, *, keep_alive: bool, chunked: bool = False) -> bytes:
        """Return all that stands before the body."""
        lines = [f"{name}: {value}" for name, value in self.headers if name.lower() not in _HOP_BY_HOP]
        lines += [
            f"Date: {_date(int(time.time()))}",
            f"Connection: {'keep-alive' if keep_alive else 'close'}",
        ]
        lines += ["Transfer-Encoding: chunked"] if chunked else []
        text = "\r\n".join([self.status, *lines, "", ""])
        return VERSION + text.encode("latin-1", "replace")


@functools.lru_cache(maxsize=1)
def _date(seconds: int) -> str:
    """Return a date as HTTP writes it (RFC 9110, 5.6.7); writing it takes longer than all else of a head."""
    return formatdate(seconds, usegmt=True)


def environ_of(head: Head, received: Received, scheme: str) -> dict[str, Any]:
    """Return a request's environ (PEP 3333).

    What proxies say about scheme and addresses is for nobody here: no answer depends on it.
    """
    environ: dict[str, Any] = {
        "REQUEST_METHOD": head.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": head.path,
        "QUERY_STRING": head.query,
        "SERVER_NAME": "pathserve",
        "SERVER_PORT": "443" if scheme == "https" else "80",
        "SERVER_PROTOCOL": f"HTTP/{head.version[0]}.{head.version[1]}",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.input": io.BytesIO() if received.stream is None else received.stream,
        "wsgi.input_terminated": received.stream is not None,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        RECEIVED: received,
    }
    for name, value in head.headers:
        if "_" in name:  # would be mistaken for the one with dashes
            continue
        key = name.upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ


def answer_of(application: Application, environ: dict[str, Any]) -> Answer:
    """Call the application; it answers its own faults."""
    status, headers = f"{HTTPStatus.INTERNAL_SERVER_ERROR.value} Internal Server Error", []

    def start_response(given: str, fields: list[tuple[str, str]], _: object = None) -> Callable[..., None]:
        nonlocal status, headers
        status, headers = given, fields
        return lambda _: None

    pieces = Pieces(application(environ, start_response))
    body = pieces.take()
    if not pieces.has_ended:
        return Answer(status, headers, body, pieces)
    if not _has_length(headers) and environ["REQUEST_METHOD"] != "HEAD" and status[:3] not in _BODILESS:
        headers = [*headers, ("Content-Length", str(len(body)))]
    return Answer(status, headers, body)


def _has_length(headers: list[tuple[str, str]]) -> bool:
    return any(name.lower() == "content-length" for name, _ in headers)
