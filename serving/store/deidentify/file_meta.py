"""The file meta information (PS3.10, section 7): read for three UIDs, written anew."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

from serving.store.deidentify.elements import ElementReader, element
from serving.store.deidentify.refused import damaged

_PREAMBLE = 128
_CLASS, _INSTANCE, _TRANSFER_SYNTAX = 0x00020002, 0x00020003, 0x00020010
_READ = (_CLASS, _INSTANCE, _TRANSFER_SYNTAX)
_REWRITTEN = frozenset(
    {0x00020000, 0x00020001, 0x00020002, 0x00020003, _TRANSFER_SYNTAX, 0x00020012, 0x00020013}
)
_IMPLEMENTATION = b"2.25.306684711937245019833463917206545811227"
_IMPLEMENTATION_NAME = b"PATHSERVE"
_MOST = 1 << 20


@dataclass(frozen=True, slots=True)
class SourceMeta:
    """What a source says of itself before its data set.

    Attributes
    ----------
    syntax, sop_class, sop:
        UIDs as they are written; ``sop_class`` and ``sop`` empty where it does not say them.
    others:
        How much else there was.
    at:
        Where the data set begins, and the stream is.
    """

    syntax: str
    sop_class: str
    sop: str
    others: int
    at: int


def read_file_meta(stream: BinaryIO, size: int) -> SourceMeta:
    """Read the preamble and the file meta information.

    Raises
    ------
    Refused
        When it is no DICOM file, or damaged.
    """
    start = stream.read(_PREAMBLE + 4)
    if start[_PREAMBLE:] != b"DICM":
        raise damaged("it is no DICOM file")
    reader = ElementReader(stream, explicit=True, size=size, at=_PREAMBLE + 4)
    texts, others, last = dict.fromkeys(_READ, ""), int(any(start[:_PREAMBLE])), -1
    while stream.read(2) == b"\x02\x00":
        stream.seek(-2, 1)
        header = reader.header(size)
        if header is None or header[0] <= last or header[2] > _MOST:
            raise damaged("its file meta information is damaged")
        last = header[0]
        if header[0] in texts:
            texts[header[0]] = reader.read(header[2]).rstrip(b"\0 ").decode("ascii", "replace")
        else:
            others += header[0] not in _REWRITTEN
            reader.skip(header, size, 0)
    if not texts[_TRANSFER_SYNTAX]:
        raise damaged("its file meta information names no transfer syntax")
    stream.seek(reader.at)
    return SourceMeta(texts[_TRANSFER_SYNTAX], texts[_CLASS], texts[_INSTANCE], others, reader.at)


def file_meta(sop_class: bytes, sop: bytes, syntax: str) -> bytes:
    """Return an empty preamble and the file meta information."""
    body = b"".join((
        element(0x00020001, b"OB", b"\0\1"),
        element(0x00020002, b"UI", sop_class),
        element(0x00020003, b"UI", sop),
        element(_TRANSFER_SYNTAX, b"UI", syntax.encode("ascii")),
        element(0x00020012, b"UI", _IMPLEMENTATION),
        element(0x00020013, b"SH", _IMPLEMENTATION_NAME),
    ))  # fmt: skip
    return bytes(_PREAMBLE) + b"DICM" + element(0x00020000, b"UL", struct.pack("<I", len(body))) + body
