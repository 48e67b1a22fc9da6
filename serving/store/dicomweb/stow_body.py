"""The body of a STOW request, part by part as it arrives (PS3.18, 8.6.1.2.2; RFC 2046, 5.1).

Werkzeug's own parser and others are for forms: they refuse parts without Content-Disposition, which no
DICOMweb client sends. A body may have many gigabytes, so nothing here holds more than what was read last.
"""

from __future__ import annotations

import re
from typing import Protocol

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

PIECE = 1 << 20
_MAX_HEADERS = 16
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,99}[0-9A-Za-z'()+_,./:=?-]")
"""RFC 2046, 5.1.1, where it has at most 70 characters; Orthanc writes 73."""

DICOM = "application/dicom"


class BadBody(Exception):
    """The body is cut off, or not what its Content-Type says; the text says which."""


class UnknownMediaType(Exception):
    """The request's Content-Type is none that is taken in; the text says what is."""


class Stream(Protocol):
    """What a body is read from."""

    def read(self, size: int, /) -> bytes:
        """Return at most so many bytes; none at the end."""
        ...


class Taker(Protocol):
    """Who takes the parts of a body."""

    def begin(self, media_type: str) -> None:
        """Begin a part, of the media type that its header says; empty where it says none."""
        ...

    def data(self, piece: memoryview) -> None:
        """Take the next bytes of the part."""
        ...

    def end(self) -> None:
        """End the part: it is whole."""
        ...


def read_parts(stream: Stream, content_type: str, length: int | None, taker: Taker) -> None:
    """Give all parts of a body to a taker.

    Parameters
    ----------
    content_type:
        Of the request: ``multipart/related`` of ``application/dicom``, or that alone for one instance.
    length:
        Bytes that the request announced; ``None`` where it came in chunks.

    Raises
    ------
    BadBody, UnknownMediaType
    """
    media_type, options = _options_of(content_type)
    if media_type == DICOM:
        _read_single(stream, length, taker)
        return
    inner = _options_of(options.get("type", DICOM))[0]
    if media_type != "multipart/related" or inner not in (DICOM, "*/*"):
        raise UnknownMediaType(
            f'Content-Type must be multipart/related; type="{DICOM}"; boundary=…, or {DICOM} for one.'
        )
    boundary = options.get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise BadBody("Content-Type names no boundary (RFC 2046, 5.1.1).")
    _read_multipart(stream, boundary, length, taker)


def _options_of(header: str) -> tuple[str, dict[str, str]]:
    """Return a media type and its parameters; clients write ``type=application/dicom`` without quotes."""
    media_type, options = parse_options_header(header)
    return media_type.decode("latin-1").lower(), {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in options.items()
    }


def _read_single(stream: Stream, length: int | None, taker: Taker) -> None:
    taker.begin(DICOM)
    read = 0
    while piece := stream.read(PIECE):
        read += len(piece)
        taker.data(memoryview(piece))
    if length is not None and read != length:
        raise _cut()
    taker.end()


def _read_multipart(stream: Stream, boundary: str, length: int | None, taker: Taker) -> None:
    parts = _Parts(taker)
    parser = MultipartParser(
        boundary.encode("ascii"),
        {
            "on_part_begin": parts.part_begins,
            "on_header_field": parts.header_name,
            "on_header_value": parts.header_value,
            "on_header_end": parts.header_ends,
            "on_headers_finished": parts.headers_end,
            "on_part_data": parts.data,
            "on_part_end": taker.end,
            "on_end": parts.all_end,
        },
        max_header_count=_MAX_HEADERS,
    )
    read = 0
    try:
        while piece := stream.read(PIECE):
            read += len(piece)
            parser.write(piece)
    except FormParserError:
        raise BadBody("The body is not the multipart that its Content-Type says.") from None
    if not parts.are_complete or (length is not None and read != length):
        raise _cut()


class _Parts:
    """Puts the parser's events together to parts."""

    def __init__(self, taker: Taker) -> None:
        self.are_complete = False
        self._taker = taker
        self._name = b""
        self._value = b""
        self._media_type = ""

    def part_begins(self) -> None:
        self._name = self._value = b""
        self._media_type = ""

    def header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_ends(self) -> None:
        if self._name.strip().lower() == b"content-type":
            self._media_type = _options_of(self._value.decode("latin-1"))[0]
        self._name = self._value = b""

    def headers_end(self) -> None:
        self._taker.begin(self._media_type)

    def data(self, data: bytes, start: int, end: int) -> None:
        self._taker.data(memoryview(data)[start:end])

    def all_end(self) -> None:
        self.are_complete = True


def _cut() -> BadBody:
    return BadBody("The body ends before its last boundary, or before its Content-Length; send it again.")
