"""Reading requests: gunicorn's parser for heads and chunks, our errors for what it refuses.

The parser holds the defences against smuggling: ambiguous lengths, bare line feeds, odd spaces.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote_to_bytes, urlsplit

from gunicorn.asgi.parser import LimitRequestHeaders, LimitRequestLine, ParseError, PythonProtocol

from serving.errors import Code, ServiceError

MAX_LINE_BYTES = 8190
MAX_FIELDS = 100
MAX_HEAD_BYTES = 1 << 16
"""A connection whose head is not complete holds no more than this."""

_METHOD_BEGINS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ\r")


@dataclass(frozen=True, slots=True)
class Head:
    """A request's head.

    Attributes
    ----------
    path:
        Without its percent-encoding, as latin-1 text (PEP 3333).
    headers:
        Names in small letters, values as latin-1 text, in order of arrival.
    keep_alive:
        Whether the client wants to use the connection again.
    """

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    version: tuple[int, int]
    content_length: int | None
    is_chunked: bool
    keep_alive: bool

    def header(self, name: str) -> str | None:
        """Return a header's value; that of several of the same name is their list."""
        values = [value for known, value in self.headers if known == name]
        return ",".join(values) if values else None

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for 100 Continue before it sends the body (RFC 9110, 10.1.1)."""
        return self.version >= (1, 1) and (self.header("expect") or "").lower() == "100-continue"


class RequestReader:
    """Reads one request from the bytes of a connection.

    Attributes
    ----------
    head:
        The head, once it is complete.
    is_complete:
        Whether all of the request has arrived.
    tail:
        What came after it.
    """

    def __init__(self) -> None:
        self.head: Head | None = None
        self.is_complete = False
        self.tail = b""
        self._head_bytes = 0
        self._left = 0
        self._pieces: list[bytes | memoryview] = []
        self._parser = PythonProtocol(
            on_headers_complete=self._take_head,
            on_body=self._pieces.append,
            limit_request_line=MAX_LINE_BYTES,
            limit_request_fields=MAX_FIELDS,
            limit_request_field_size=MAX_LINE_BYTES,
        )

    def feed(self, data: bytes) -> None:
        """Take in bytes; those of the body are handed out by ``body``.

        Raises
        ------
        ServiceError
            When they are not a request; nothing of them is quoted, they may hold a token.
        """
        if self.head is not None and not self.head.is_chunked:
            self._take_plain(data)
            return
        if not self._head_bytes and data[0] not in _METHOD_BEGINS:
            raise _refused(
                "This is not an HTTP/1.1 request. Where the service speaks http, do not ask by https."
            )
        self._head_bytes += len(data)
        # What comes with a head, as a rule a piece of the body, would be copied by the parser twice.
        end = data.find(b"\r\n\r\n") + 4
        head, rest = (data[:end], memoryview(data)[end:]) if end >= 4 else (data, memoryview(b""))
        try:
            self._parser.feed(head)
            if rest and (self.head is None or self.head.is_chunked):
                self._parser.feed(rest)
        except LimitRequestLine as error:
            raise ServiceError(
                Code.URI_TOO_LONG_ERROR, f"The request line is longer than {MAX_LINE_BYTES:,} bytes."
            ) from error
        except LimitRequestHeaders as error:
            raise _head_too_large() from error
        except (ParseError, ValueError) as error:
            raise _refused("This is not a valid HTTP/1.1 request (RFC 9112).") from error
        if self.head is None and self._head_bytes > MAX_HEAD_BYTES:
            raise _head_too_large()
        if self.head is not None and not self.head.is_chunked:
            # The head may have ended with a line of which this piece has but the last byte.
            early = self._parser.remaining()
            self._take_plain(early + bytes(rest) if early else rest)
        elif self._parser.is_complete:
            self.is_complete, self.tail = True, self._parser.remaining()

    def body(self) -> list[bytes | memoryview]:
        """Return the pieces of the body that have arrived since this was asked last."""
        pieces = self._pieces[:]
        self._pieces.clear()
        return pieces

    def _take_plain(self, data: bytes | memoryview) -> None:
        piece, self.tail = data[: self._left], bytes(data[self._left :])
        self._left -= len(piece)
        self.is_complete = self._left == 0
        if piece:
            self._pieces.append(piece)

    def _take_head(self) -> bool:
        """Keep the head; return whether the parser is to leave the body alone."""
        parser = self._parser
        codings = [value.lower() for name, value in parser.headers if name == b"transfer-encoding"]
        if codings and codings != [b"chunked"]:
            raise ParseError
        path, query = _path_and_query(parser.path.decode("ascii"))
        self.head = Head(
            method=parser.method.decode("ascii"),
            path=path,
            query=query,
            headers=tuple(
                (name.decode("latin-1"), value.decode("latin-1")) for name, value in parser.headers
            ),
            version=parser.http_version,
            content_length=parser.content_length,
            is_chunked=parser.is_chunked,
            keep_alive=parser.should_keep_alive,
        )
        self._left = parser.content_length or 0
        return not parser.is_chunked


def _path_and_query(target: str) -> tuple[str, str]:
    if not target.startswith("/"):  # absolute-form, as sent to proxies
        parts = urlsplit(target)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    path, _, query = target.partition("?")
    return unquote_to_bytes(path).decode("latin-1"), query


def _refused(description: str) -> ServiceError:
    return ServiceError(Code.INVALID_REQUEST_FIELD_ERROR, description)


def _head_too_large() -> ServiceError:
    return ServiceError(
        Code.HEADERS_TOO_LARGE_ERROR,
        f"The request has more than {MAX_FIELDS} headers, one of more than {MAX_LINE_BYTES:,} bytes, or more "
        f"than {MAX_HEAD_BYTES:,} bytes of them.",
    )
