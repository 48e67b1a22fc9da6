"""JPEG 2000 and HTJ2K frames with nothing but their coding (ITU-T T.800, annex A; T.814, annex A).

Comments go, from the main header and from those of tile-parts, and so do boxes around the codestream, which
DICOM does not have (PS3.5, 8.2.4), and bytes after its end.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from dicom_io.codecs.boxes import boxes
from dicom_io.codecs.encoded_image import DamagedImage
from serving.store.deidentify.cleaners.jpeg2000_segments import Coding
from serving.store.deidentify.cleaners.pieces import CleanFrame, FrameShape, trailing

_SOC, _EOC, _SOD = b"\xff\x4f", b"\xff\xd9", b"\xff\x93"
_FILE = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
_SIZ, _SOT, _COM, _CRG, _TLM, _PLM, _PLT, _PRF, _CPF = 0x51, 0x90, 0x64, 0x63, 0x55, 0x57, 0x58, 0x56, 0x59
_GOES = frozenset({_COM, _CRG, _PLM, _PLT, _PRF, _CPF})
"""Words; where components were registered, how long packets are, which profile it is: decoders need none."""

_TILE_PART = frozenset({0x52, 0x53, 0x5C, 0x5D, 0x5E, 0x5F})
_MAIN = _TILE_PART | {0x50, _SIZ, _TLM}
_SEGMENT = struct.Struct(">BBH")
_START_OF_TILE_PART = struct.Struct(">HHHIBB")
_MOST_SEGMENTS, _MOST_TILE_PARTS = 10_000, 100_000
_RESHAPES = frozenset({b"pclr", b"cmap", b"cdef"})

Pieces = list[bytes | memoryview]


@dataclass(frozen=True, slots=True)
class _Header:
    """Segments up to the first marker that is none of them.

    Attributes
    ----------
    stays:
        Markers and whole segments.
    end:
        Where that marker is.
    """

    stays: tuple[tuple[int, bytes], ...]
    removed: int
    end: int


def clean_jpeg2000(data: bytes, shape: FrameShape) -> CleanFrame:
    """Clean a frame of JPEG 2000 or HTJ2K.

    Raises
    ------
    DamagedImage
    """
    boxed = 0
    if data.startswith(_FILE):
        data, boxed = _codestream(data), 1
    if not data.startswith(_SOC):
        raise DamagedImage("it does not begin as a JPEG 2000 codestream")
    coding = Coding(*_size(data))
    shape.require(coding.width, coding.height)
    shape.require_samples(coding.components)
    main = _header(data, 2, _MAIN, coding)
    parts, lengths, removed, at = Pieces(), list[tuple[int, int]](), boxed + main.removed, main.end
    while data[at : at + 2] != _EOC:
        if len(lengths) > _MOST_TILE_PARTS:
            raise DamagedImage("it has too many tile-parts")
        tile = int.from_bytes(data[at + 4 : at + 6], "big")
        pieces, gone, at = _tile_part(data, at, coding)
        parts += pieces
        lengths.append((tile, sum(map(len, pieces))))
        removed += gone
    if not lengths:
        raise DamagedImage("it has no picture")
    start: Pieces = [_SOC, *_main_header(main, lengths)]
    return CleanFrame((*start, *parts, _EOC), removed + trailing(data, at + 2))


def _size(data: bytes) -> tuple[int, int, int]:
    """Return width, height and components of the image (T.800, A.5.1)."""
    if data[2:4] != bytes([0xFF, _SIZ]) or len(data) < 42:
        raise DamagedImage("it has no image size")
    right, bottom, left, top = struct.unpack_from(">4I", data, 8)
    return right - left, bottom - top, int.from_bytes(data[40:42], "big")


def _codestream(data: bytes) -> bytes:
    """Return the codestream in a file whose boxes do not change what its components are."""
    found = b""
    for kind, start, end in boxes(data):
        if end > len(data):
            raise DamagedImage("a JP2 box is cut off")
        if kind == b"jp2h" and any(inner in _RESHAPES for inner, _, _ in boxes(data[start:end])):
            raise DamagedImage("its JP2 boxes redefine its components")
        if kind == b"jp2c" and not found:
            found = data[start:end]
    return found


def _header(data: bytes, at: int, known: frozenset[int], coding: Coding) -> _Header:
    stays, removed = list[tuple[int, bytes]](), 0
    for _ in range(_MOST_SEGMENTS):
        if at + 4 > len(data):
            raise DamagedImage("it is cut off")
        escape, marker, length = _SEGMENT.unpack_from(data, at)
        if escape == 0xFF and marker in (_SOT, _SOD[1], _EOC[1]):
            coding.end_header()
            return _Header(tuple(stays), removed, at)
        end = at + 2 + length
        if escape != 0xFF or length < 2 or end > len(data):
            raise DamagedImage("its segments are damaged or cut off")
        if marker in known:
            coding.require(marker, data[at + 4 : end])
            stays.append((marker, data[at:end]))
        elif marker in _GOES:
            removed += 1
        else:
            raise DamagedImage(f"its coding (marker FF{marker:02X}) is not one of slides")
        at = end
    raise DamagedImage("it has too many segments")


def _tile_part(data: bytes, at: int, coding: Coding) -> tuple[Pieces, int, int]:
    """Return a tile-part, how much was left out of it, and where it ends (T.800, A.4.2)."""
    if at + 12 > len(data):
        raise DamagedImage("it is cut off")
    marker, length, tile, size, number, count = _START_OF_TILE_PART.unpack_from(data, at)
    if marker != 0xFF00 | _SOT or length != 10:
        raise DamagedImage("its tile-parts are damaged")
    header = _header(data, at + 12, _TILE_PART, coding)
    end = at + size if size else data.find(_EOC, header.end)  # 0: up to the end of the codestream
    if data[header.end : header.end + 2] != _SOD or not header.end + 2 <= end <= len(data) - 2:
        raise DamagedImage("a tile-part is cut off")
    segments = [segment for _, segment in header.stays]
    body = memoryview(data)[header.end : end]
    total = 12 + sum(map(len, segments)) + len(body)
    start = _START_OF_TILE_PART.pack(marker, length, tile, total if size else 0, number, count)
    return [start, *segments, body], header.removed, end


def _main_header(main: _Header, lengths: list[tuple[int, int]]) -> list[bytes]:
    """Return the segments of the main header, its tables of lengths with those that tile-parts have now."""
    segments, told = list[bytes](), 0
    for marker, segment in main.stays:
        if marker != _TLM:
            segments.append(segment)
            continue
        written, told = _lengths_table(segment, lengths, told)
        segments.append(written)
    return segments


def _lengths_table(segment: bytes, lengths: list[tuple[int, int]], told: int) -> tuple[bytes, int]:
    """Return a table with the lengths from ``told`` on, and up to where it tells (T.800, A.7.1)."""
    if len(segment) < 6:
        raise DamagedImage("its table of tile-parts is damaged")
    index_bytes, length_bytes = (segment[5] >> 4) & 3, 4 if segment[5] & 0x40 else 2
    entry = index_bytes + length_bytes
    count, rest = divmod(len(segment) - 6, entry)
    if rest or index_bytes == 3 or told + count > len(lengths):
        raise DamagedImage("its table of tile-parts is damaged")
    written = bytearray(segment)
    for number in range(count):
        at, (tile, length) = 6 + number * entry, lengths[told + number]
        index = tile.to_bytes(2, "big")[2 - index_bytes :]
        if (index_bytes and tile >> 8 * index_bytes) or length >> 8 * length_bytes:
            raise DamagedImage("its table of tile-parts is damaged")
        written[at : at + entry] = index + length.to_bytes(length_bytes, "big")
    return bytes(written), told + count
