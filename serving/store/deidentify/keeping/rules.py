"""Rules of the keep-list: a value as it may stay, or ``None`` when it may not.

Values come as they are stored, trailing padding included.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from itertools import takewhile

from pydicom._uid_dict import UID_dictionary
from pydicom.datadict import dictionary_has_tag

from serving.store.deidentify.cleaners.icc import without_text
from serving.store.deidentify.keeping.pseudonyms import OPTICAL_PATH, Pseudonyms

Rule = Callable[[bytes, Pseudonyms], bytes | None]

_DECIMAL = re.compile(rb"[+-]?([0-9]{1,5}(\.[0-9]{0,20})?|\.[0-9]{1,20})([eE][+-]?[0-9]{1,2})?")
"""Longer than DICOM allows (PS3.5, 6.2): many writers give pixel spacings with all digits of a double. No
number of a slide has more than five digits before its point, and those of records and dates have."""

_WHOLE = re.compile(rb"[+-]?[0-9]{1,10}")
_GROUPS = frozenset({0x0018, 0x0020, 0x0028, 0x0040, 0x0048})
_FEW_DIGITS = re.compile(rb"[0-9]{1,2}")
_BELOW = 10_000_000
"""No number of a slide is larger; dates, and any four letters as an integer, are."""

_LETTERS = re.compile(rb"[ -~]{4}")

_FLOATS = frozenset({b"FL", b"FD"})
_CODES = {b"US": "H", b"SS": "h", b"UL": "I", b"SL": "i", b"FL": "f", b"FD": "d"}


def numbers(vr: bytes, low: int = 1, high: int = 1, below: int = _BELOW) -> Rule:
    """Keep binary numbers: between ``low`` and ``high`` of them, of a size that numbers of slides have.

    Four letters are a floating-point number of ordinary size, too: of one with four in a row all but the
    first three bytes become zero.
    """
    code = _CODES[vr]
    size = struct.calcsize(f"<{code}")

    def rule(value: bytes, _: Pseudonyms) -> bytes | None:
        count, rest = divmod(len(value), size)
        if rest or not low <= count <= high:
            return None
        found = struct.unpack(f"<{count}{code}", value)
        if not all(math.isfinite(x) and abs(x) < below for x in found):
            return None
        return value if vr not in _FLOATS else b"".join(map(_unlettered, _cut(value, size)))

    return rule


def _cut(value: bytes, size: int) -> list[bytes]:
    return [value[at : at + size] for at in range(0, len(value), size)]


def _unlettered(number: bytes) -> bytes:
    return bytes(len(number) - 3) + number[-3:] if _LETTERS.search(number) else number


def tags() -> Rule:
    """Keep one pointer to an attribute that DICOM has, of a group that images have."""

    def rule(value: bytes, _: Pseudonyms) -> bytes | None:
        if len(value) != 4:
            return None
        group, number = struct.unpack("<HH", value)
        is_known = group in _GROUPS and dictionary_has_tag(group << 16 | number)
        return value if is_known else None

    return rule


def decimals(low: int = 1, high: int = 1) -> Rule:
    """Keep numbers written in decimals (DS)."""
    return _written(_DECIMAL, low, high)


def whole(most: int) -> Rule:
    """Keep a whole number (IS) from 0 to ``most``: no number of a record."""
    written = _written(_WHOLE, 1, 1)

    def rule(value: bytes, pseudonyms: Pseudonyms) -> bytes | None:
        kept = written(value, pseudonyms)
        return kept if kept is not None and 0 <= int(kept) <= most else None

    return rule


def words(*vocabulary: str, most: int = 1) -> Rule:
    """Keep up to ``most`` values, if all of them are words of a vocabulary."""
    known = frozenset(word.encode() for word in vocabulary)

    def rule(value: bytes, _: Pseudonyms) -> bytes | None:
        found = _values(value)
        return b"\\".join(found) if len(found) <= most and known.issuperset(found) else None

    return rule


def first_words(*vocabulary: str, most: int) -> Rule:
    """Keep values up to the first that is no word of a vocabulary, and at most ``most``."""
    known = frozenset(word.encode() for word in vocabulary)

    def rule(value: bytes, _: Pseudonyms) -> bytes | None:
        return b"\\".join(takewhile(known.__contains__, _values(value)[:most])) or None

    return rule


def known_or(substitute: str, vocabulary: frozenset[str]) -> Rule:
    """Keep a value that a vocabulary has, in any case; put ``substitute`` for all others."""
    known = {word.casefold(): word.encode() for word in vocabulary}

    def rule(value: bytes, _: Pseudonyms) -> bytes | None:
        text = b" ".join(value.strip(b"\0 ").split()).decode("ascii", "replace")
        return known.get(text.casefold(), substitute.encode())

    return rule


def substitute(value: bytes) -> Rule:
    """Put a value for all others, for what must be there (types 1 and 2)."""
    return lambda _value, _pseudonyms: value


def new_uid(value: bytes, pseudonyms: Pseudonyms) -> bytes | None:
    """Put a new UID for a UID."""
    uid = pseudonyms.uid(value)
    return None if uid is None else uid.encode()


def registered_uid(value: bytes, _: Pseudonyms) -> bytes | None:
    """Keep a UID that the standard registers."""
    uid = value.rstrip(b"\0 ")
    return uid if uid.decode("ascii", "replace") in UID_dictionary else None


def identifier(kind: str) -> Rule:
    """Put a pseudonym for an identifier."""

    def pseudonym(value: bytes, pseudonyms: Pseudonyms) -> bytes | None:
        return pseudonyms.identifier(kind, value).encode()

    return pseudonym


def optical_path(value: bytes, pseudonyms: Pseudonyms) -> bytes | None:
    """Keep a number of one or two digits; put a pseudonym for all else.

    Not counted through: instances of a series name each other's paths, and each has only some of them.
    """
    text = value.strip(b"\0 ")
    if not text:
        return None
    return text if _FEW_DIGITS.fullmatch(text) else pseudonyms.identifier(OPTICAL_PATH, text).encode()


def profile(value: bytes, _: Pseudonyms) -> bytes | None:
    """Keep what an ICC profile says of colours."""
    return without_text(value)


def _written(pattern: re.Pattern[bytes], low: int, high: int) -> Rule:
    def rule(value: bytes, _: Pseudonyms) -> bytes | None:
        found = _values(value)
        fits = low <= len(found) <= high and all(pattern.fullmatch(text) for text in found)
        return b"\\".join(found) if fits else None

    return rule


def _values(value: bytes) -> list[bytes]:
    return [text.strip(b"\0 ") for text in value.split(b"\\")]
