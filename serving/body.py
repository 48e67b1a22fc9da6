"""Reading a request's body: bounded in bytes and in time, whatever the client does."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Any, Protocol

from gunicorn.http.errors import ParseException
from werkzeug.exceptions import RequestEntityTooLarge

from serving.errors import Code, ServiceError
from serving.stall import StallWatch

_PIECE = 1 << 18
_IDLE_S = 10.0
_SLOWEST = 20_000
"""Bytes a second that each piece must come with, after ``_IDLE_S``: a turn is not for dripping."""

_DISCARD_S = 5.0
_DISCARD_BYTES = 64 << 20


class _Input(Protocol):
    def read(self, size: int) -> bytes: ...


def read_body(environ: dict[str, Any], limit: int, deadline: float, watch: StallWatch) -> bytearray:
    """Read the whole body.

    Parameters
    ----------
    environ:
        The WSGI environment.
    limit:
        Most bytes to accept.
    deadline:
        ``time.monotonic()`` seconds.
    watch:
        Ends the reading when a piece does not come in time.

    Raises
    ------
    RequestEntityTooLarge
        When there are more bytes, as declared or as sent.
    ServiceError
        INVALID_REQUEST_FIELD_ERROR when the client stops sending, or drips.
    """
    declared = _declared(environ)
    if declared is not None and declared > limit:
        raise RequestEntityTooLarge
    body = bytearray()
    try:
        while piece := _read_piece(environ, deadline, watch):
            body += piece
            if len(body) > limit:
                raise RequestEntityTooLarge
    except (OSError, ParseException) as error:
        raise _incomplete() from error
    if declared is not None and len(body) < declared:
        raise _incomplete()
    return body


def _read_piece(environ: dict[str, Any], deadline: float, watch: StallWatch) -> bytes:
    stream: _Input = environ["wsgi.input"]
    connection = environ.get("gunicorn.socket")
    if not isinstance(connection, socket.socket):
        return stream.read(_PIECE)
    connection.settimeout(_IDLE_S)
    seconds = min(_IDLE_S + _PIECE / _SLOWEST, deadline - time.monotonic())
    with watch.within(connection, seconds):
        return stream.read(_PIECE)


def discard_body(environ: dict[str, Any], watch: StallWatch) -> None:
    """Read what is left of a body that was refused, so that the client gets to read the answer."""
    stream: _Input = environ["wsgi.input"]
    connection = environ.get("gunicorn.socket")
    if not isinstance(connection, socket.socket):
        return
    left = _DISCARD_BYTES
    connection.settimeout(_DISCARD_S)
    # What goes wrong here is the client's loss.
    with contextlib.suppress(OSError, ParseException), watch.within(connection, _DISCARD_S):
        while left > 0 and (piece := stream.read(_PIECE)):
            left -= len(piece)
    connection.settimeout(_IDLE_S)


def _declared(environ: dict[str, Any]) -> int | None:
    text = environ.get("CONTENT_LENGTH") or ""
    return int(text) if text.isdecimal() else None


def _incomplete() -> ServiceError:
    return ServiceError(
        Code.INVALID_REQUEST_FIELD_ERROR, "The request's body did not arrive completely; send it again."
    )
