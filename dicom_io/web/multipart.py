"""Reading a ``multipart/related`` body part by part, while it still arrives (RFC 2046, 5.1).

The standard library's ``email`` parser wants the whole body in memory, as text; a store's answer may hold
64 frames of megabytes each. This one yields each part as soon as its closing boundary is here, looks at each
byte about once, and has a bound on a part's size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.message import Message

_MAX_HEADER = 16 * 1024


class MultipartError(ValueError):
    """The body is not well-formed multipart, is cut off, or has a part that is too large."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its media type (lower case), the type's parameters, the bytes, and where they are from."""

    media_type: str
    parameters: dict[str, str]
    body: bytes
    location: str = ""


def media_type(header: str) -> tuple[str, dict[str, str]]:
    """Split a Content-Type header into the type (lower case) and its parameters."""
    message = Message()
    message["content-type"] = header
    pairs = message.get_params() or []
    return message.get_content_type(), {name.lower(): value for name, value in pairs[1:]}


def iter_parts(chunks: Iterable[bytes], boundary: str, max_part: int) -> Iterator[Part]:
    """Yield the parts of a body.

    Parameters
    ----------
    chunks:
        The body, in pieces of any size.
    max_part:
        Largest body of a part, in bytes.

    Raises
    ------
    MultipartError
    """
    reader = _Buffer(chunks, max_part)
    delimiter = b"--" + boundary.encode("ascii", "replace")
    reader.until(delimiter, "preamble")
    said, kind, parameters = "", "", dict[str, str]()
    while True:
        if reader.peek(2) == b"--":
            return
        if reader.until(b"\r\n", "boundary").strip(b" \t"):  # white space is padding of the transport
            raise MultipartError("a boundary is not followed by a line end")
        header = b"" if reader.peek(2) == b"\r\n" else reader.until(b"\r\n\r\n", "header")
        if not header:
            reader.take(2)
        fields = _fields(header)
        if (says := fields.get("content-type", "application/octet-stream")) != said or not kind:
            said, (kind, parameters) = says, media_type(says)  # as a rule, all parts say the same
        body = reader.until(b"\r\n" + delimiter, "part")
        yield Part(kind, parameters, body, fields.get("content-location", ""))


def _fields(header: bytes) -> dict[str, str]:
    """Return a part's header fields by their names in lower case."""
    if len(header) > _MAX_HEADER:
        raise MultipartError("a part's header is too large")
    lines = (line.decode("latin-1").partition(":") for line in header.split(b"\r\n"))
    return {name.strip().lower(): value.strip() for name, _, value in lines}


class _Buffer:
    """A buffer over the pieces of a body."""

    def __init__(self, chunks: Iterable[bytes], limit: int) -> None:
        self._chunks = iter(chunks)
        self._limit = limit + _MAX_HEADER
        self._buffer = bytearray()

    def until(self, mark: bytes, what: str) -> bytes:
        """Return the bytes before a mark, and skip the mark."""
        searched = 0
        while (found := self._buffer.find(mark, searched)) < 0:
            # The mark may be split between two chunks: search again from where it could have begun.
            searched = max(0, len(self._buffer) - len(mark) + 1)
            if len(self._buffer) > self._limit:
                raise MultipartError(f"a {what} is too large")
            self._more(what)
        taken = bytes(memoryview(self._buffer)[:found])
        del self._buffer[: found + len(mark)]
        return taken

    def take(self, count: int) -> bytes:
        """Return and remove the next bytes."""
        taken = self.peek(count)
        del self._buffer[:count]
        return taken

    def peek(self, count: int) -> bytes:
        """Return the next bytes."""
        while len(self._buffer) < count:
            self._more("boundary")
        return bytes(self._buffer[:count])

    def _more(self, what: str) -> None:
        chunk = next(self._chunks, None)
        if chunk is None:
            raise MultipartError(f"the body is cut off inside a {what}")
        self._buffer += chunk
