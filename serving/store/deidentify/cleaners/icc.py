"""ICC profiles without words, dates and makers (ICC.1:2010, sections 7 to 10)."""

from __future__ import annotations

import struct

from dicom_io.codecs.encoded_image import MAX_PROFILE_BYTES
from serving.store.deidentify.cleaners.icc_elements import trimmed

_HEADER = 128
_ENTRY = struct.Struct(">4sII")
_MOST_TAGS = 100
_TRANSFORM = frozenset(
    b"A2B0 A2B1 A2B2 B2A0 B2A1 B2A2 D2B0 D2B1 D2B2 D2B3 B2D0 B2D1 B2D2 B2D3 rXYZ gXYZ bXYZ rTRC gTRC bTRC "
    b"wtpt chad".split()
)
"""What colours are computed from; all other tags are words, dates, or looked at by nobody who transforms."""

_OF_GRAY = _TRANSFORM - frozenset(b"rXYZ gXYZ bXYZ rTRC gTRC bTRC".split()) | {b"kTRC"}

_CLASSES = frozenset({b"scnr", b"mntr", b"prtr", b"spac"})
_SPACES = frozenset({b"RGB ", b"GRAY", b"YCbr", b"Lab ", b"XYZ "})
_VERSIONS = range(2, 6)
_CONNECTIONS = frozenset({b"XYZ ", b"Lab "})
_D50 = struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
"""The illuminant of all profiles, in fixed-point numbers of 16 bits (ICC.1:2010, 7.2.16)."""


def without_text(profile: bytes) -> bytes | None:
    """Return a profile with the same transform, without anything else; ``None`` when it is damaged.

    A description and a copyright must be there (ICC.1:2010, 8.2), so they are, and are empty.
    """
    tags = _tags(profile)
    if tags is None or not _is_plain(profile):
        return None
    transform = _OF_GRAY if profile[16:20] == b"GRAY" else _TRANSFORM
    kept = {name: data for name, data in tags.items() if name in transform}
    if any(trimmed(data) is None for data in kept.values()):
        return None
    version = profile[8]
    empty = _EMPTY_DESCRIPTION if version < 4 else _EMPTY_WORDS
    words = {b"desc": empty, b"cprt": _EMPTY_TEXT if version < 4 else _EMPTY_WORDS}
    return _written(profile, words | {name: trimmed(data) or b"" for name, data in kept.items()})


_EMPTY_WORDS = b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", 0, 28)
_EMPTY_TEXT = b"text" + bytes(4) + b"\0"
_EMPTY_DESCRIPTION = b"desc" + bytes(4) + struct.pack(">I", 1) + b"\0" + bytes(8 + 3 + 67)


def _tags(profile: bytes) -> dict[bytes, bytes] | None:
    """Return the elements by their signatures; ``None`` when the table leads out of the profile."""
    if not _HEADER + 4 <= len(profile) <= MAX_PROFILE_BYTES or profile[36:40] != b"acsp":
        return None
    (count,) = struct.unpack_from(">I", profile, _HEADER)
    if count > _MOST_TAGS or _HEADER + 4 + count * _ENTRY.size > len(profile):
        return None
    found: dict[bytes, bytes] = {}
    entries = list(_ENTRY.iter_unpack(profile[_HEADER + 4 : _HEADER + 4 + count * _ENTRY.size]))
    if sum(size for _, size in {entry[1:] for entry in entries}) > len(profile):
        return None  # elements are shared as a whole; overlapping ones would be many times the profile
    for name, start, size in entries:
        if start + size > len(profile) or size < 8 or name in found:
            return None
        found[name] = profile[start : start + size]
    return found


def _is_plain(profile: bytes) -> bool:
    """Return whether version, class and colour spaces are of those that images have."""
    return (
        profile[8] in _VERSIONS
        and profile[12:16] in _CLASSES
        and profile[16:20] in _SPACES
        and profile[20:24] in _CONNECTIONS
    )


def _written(profile: bytes, tags: dict[bytes, bytes]) -> bytes:
    places: dict[bytes, int] = {}
    at = _HEADER + 4 + len(tags) * _ENTRY.size
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        if data not in places:  # curves are often one for all three
            places[data] = at + len(body)
            body += data + bytes(-len(data) % 4)
        table += _ENTRY.pack(name, places[data], len(data))
    return _header(profile, _HEADER + len(table) + len(body)) + table + body


def _header(profile: bytes, size: int) -> bytes:
    """Return a header with version, class, colour spaces and intent, and nothing in all other places."""
    header = bytearray(_HEADER)
    header[:4] = struct.pack(">I", size)
    header[8:10] = profile[8:10]
    header[12:24] = profile[12:24]
    header[36:40] = b"acsp"
    header[67] = profile[67] & 3
    header[68:80] = _D50
    return bytes(header)
