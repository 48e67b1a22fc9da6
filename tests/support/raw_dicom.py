"""DICOM files byte by byte, right or wrong: what libraries refuse to write."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from tests.support.slides import EXPLICIT, WHOLE_SLIDE

LONG = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
UNDEFINED = 0xFFFFFFFF
END_OF_ITEM = struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
END_OF_SEQUENCE = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)

Elements = Mapping[int, tuple[str, bytes]]


def element(tag: int, vr: str, value: bytes, *, length: int | None = None, explicit: bool = True) -> bytes:
    """Return an element, padded; ``length`` is what it claims where that is not the truth."""
    value += (b"\0" if vr in ("UI", "OB", "UN") else b" ") * (len(value) % 2)
    claimed = len(value) if length is None else length
    start = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if not explicit:
        return start + struct.pack("<I", claimed) + value
    if vr in LONG:
        return start + struct.pack("<2sHI", vr.encode(), 0, claimed) + value
    return start + struct.pack("<2sH", vr.encode(), claimed) + value


def item(body: bytes, *, length: int | None = None) -> bytes:
    """Return an item of a sequence."""
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(body) if length is None else length) + body


def minimal(**changes: tuple[str, bytes] | None) -> dict[int, tuple[str, bytes]]:
    """Return the elements of a slide's level of one tile of 8x8, uncompressed, that is let in.

    Parameters
    ----------
    changes:
        By tag, written as ``t00080018``; ``None`` leaves one out.
    """
    elements: dict[int, tuple[str, bytes]] = {
        0x00080008: ("CS", b"ORIGINAL\\PRIMARY\\VOLUME\\NONE"),
        0x00080016: ("UI", WHOLE_SLIDE.encode()),
        0x00080018: ("UI", b"1.2.3.4.7"),
        0x00080060: ("CS", b"SM"),
        0x0020000D: ("UI", b"1.2.3.4.5"),
        0x0020000E: ("UI", b"1.2.3.4.6"),
        0x00280002: ("US", struct.pack("<H", 3)),
        0x00280004: ("CS", b"RGB"),
        0x00280006: ("US", struct.pack("<H", 0)),
        0x00280008: ("IS", b"1"),
        0x00280010: ("US", struct.pack("<H", 8)),
        0x00280011: ("US", struct.pack("<H", 8)),
        0x00280100: ("US", struct.pack("<H", 8)),
        0x00280101: ("US", struct.pack("<H", 8)),
        0x00280102: ("US", struct.pack("<H", 7)),
        0x00280103: ("US", struct.pack("<H", 0)),
        0x00280301: ("CS", b"NO"),
        0x00480006: ("UL", struct.pack("<I", 8)),
        0x00480007: ("UL", struct.pack("<I", 8)),
        0x00480010: ("CS", b"NO"),
        0x7FE00010: ("OB", bytes(range(192))),
    }
    for name, change in changes.items():
        tag = int(name.removeprefix("t"), 16)
        if change is None:
            del elements[tag]
        else:
            elements[tag] = change
    return elements


def data_set(elements: Elements, *, explicit: bool = True) -> bytes:
    """Return elements in ascending order."""
    return b"".join(element(tag, *elements[tag], explicit=explicit) for tag in sorted(elements))


def file_of(body: bytes, syntax: str = EXPLICIT) -> bytes:
    """Return a DICOM file of a data set."""
    meta = element(0x00020002, "UI", WHOLE_SLIDE.encode()) + element(0x00020010, "UI", syntax.encode())
    return bytes(128) + b"DICM" + element(0x00020000, "UL", struct.pack("<I", len(meta))) + meta + body


def encapsulated(*fragments: bytes, table: bytes = b"") -> bytes:
    """Return the pixel data element of compressed frames, with a basic offset table."""
    start = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, UNDEFINED)
    return start + item(table) + b"".join(item(f + bytes(len(f) % 2)) for f in fragments) + END_OF_SEQUENCE
