"""Reading a request's body: bounded in bytes and in time, whatever the client does."""

from __future__ import annotations

import socket
import time
from typing import Any, Protocol

from gunicorn.http.errors import ParseException
from werkzeug.exceptions import RequestEntityTooLarge

from serving.errors import Code, ServiceError

_PIECE = 1 << 20
_IDLE_S = 30.0
_DISCARD_S = 5.0
_DISCARD_BYTES = 64 << 20


class _Input(Protocol):
    def read(self, size: int) -> bytes: ...


def read_body(environ: dict[str, Any], limit: int, deadline: float) -> bytearray:
    """Read the whole body.

    Parameters
    ----------
    environ:
        The WSGI environment.
    limit:
        Most bytes to accept.
    deadline:
        ``time.monotonic()`` seconds.

    Raises
    ------
    RequestEntityTooLarge
        When there are more bytes, as declared or as sent.
    ServiceError
        INVALID_REQUEST_FIELD_ERROR when the client stops sending.
    """
    declared = _declared(environ)
    if declared is not None and declared > limit:
        raise RequestEntityTooLarge
    body = bytearray()
    stream: _Input = environ["wsgi.input"]
    _set_timeout(environ, _IDLE_S)
    try:
        while piece := stream.read(_PIECE):
            body += piece
            if len(body) > limit:
                raise RequestEntityTooLarge
            if time.monotonic() > deadline:
                raise TimeoutError
    except (OSError, ParseException) as error:
        raise _incomplete() from error
    if declared is not None and len(body) < declared:
        raise _incomplete()
    return body


def discard_body(environ: dict[str, Any]) -> None:
    """Read what is left of a body that was refused, so that the client gets to read the answer."""
    stream: _Input = environ["wsgi.input"]
    until, left = time.monotonic() + _DISCARD_S, _DISCARD_BYTES
    _set_timeout(environ, _DISCARD_S)
    try:
        while left > 0 and time.monotonic() < until and (piece := stream.read(_PIECE)):
            left -= len(piece)
    except (OSError, ParseException):
        pass  # it is the client's loss
    _set_timeout(environ, _IDLE_S)


def _declared(environ: dict[str, Any]) -> int | None:
    text = environ.get("CONTENT_LENGTH") or ""
    return int(text) if text.isdecimal() else None


def _set_timeout(environ: dict[str, Any], seconds: float) -> None:
    connection = environ.get("gunicorn.socket")
    if isinstance(connection, socket.socket):
        connection.settimeout(seconds)


def _incomplete() -> ServiceError:
    return ServiceError(
        Code.INVALID_REQUEST_FIELD_ERROR, "The request's body did not arrive completely; send it again."
    )
