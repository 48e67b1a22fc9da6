"""The elements of a DICOM file, one after the other (PS3.5, section 7): read within bounds, and written.

Read here rather than by a library, because

* the functional groups of a slide of 100,000 frames are millions of elements, and a private one may have the
  size of the file: nothing is held that is not kept, so memory has a bound whatever the file says,
* lengths that lie, sequences without an end and sequences 10,000 deep must be refused, not followed,
* what is not understood must go; a reader that mends is no help with that.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from serving.store.deidentify.refused import damaged

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
NO_END = 1 << 62
"""The limit of a stream whose length is not known."""

MAX_DEPTH = 24
"""Levels of sequences; those of slides have five."""

_MAX_ELEMENTS = 8_000_000
_SKIP = 1 << 20
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_SHORT = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_SEQUENCES = frozenset({b"SQ", b"UN", b""})
_EXPLICIT = struct.Struct("<HH2sH")
_IMPLICIT = struct.Struct("<HHI")
_LENGTH = struct.Struct("<I")

Header = tuple[int, bytes, int]
"""Tag, value representation (empty where the file does not say it) and length."""


class ElementReader:
    """Reads a stream of elements, little-endian.

    Parameters
    ----------
    stream:
        At the first element.
    explicit:
        Whether elements say their value representation.
    size:
        Bytes up to the stream's end; ``NO_END`` where it is not known.
    at:
        The stream's position, which ``at`` and limits count from.
    """

    def __init__(self, stream: BinaryIO, *, explicit: bool, size: int = NO_END, at: int = 0) -> None:
        self._stream = stream
        self._seekable = size != NO_END
        self._elements = 0
        self.explicit = explicit
        self.at = at
        self.size = size

    def header(self, limit: int) -> Header | None:
        """Read the next element's header; ``None`` at the limit, or at the end of a stream without one.

        Raises
        ------
        Refused
            When it is cut off, is none, or claims more bytes than there are up to the limit.
        """
        if self.at >= limit:
            return None
        data = self._stream.read(8)
        if not data and limit == NO_END:
            return None
        self.at += 8
        if len(data) < 8 or self.at > limit:
            raise damaged("it is cut off")
        self._elements += 1
        if self._elements > _MAX_ELEMENTS:
            raise damaged(f"it has more than {_MAX_ELEMENTS} elements")
        group, element, vr, length = _EXPLICIT.unpack(data)
        if group == 0xFFFE or not self.explicit:
            _, _, length = _IMPLICIT.unpack(data)
            vr = b""
        elif vr in _LONG:
            (length,) = _LENGTH.unpack(self.read(4))
        elif vr not in _SHORT:
            raise damaged("an element has no value representation")
        if self.at + length > limit and length != UNDEFINED:
            raise damaged("an element claims more bytes than there are")
        return group << 16 | element, vr, length

    def read(self, length: int) -> bytes:
        """Read so many bytes.

        Raises
        ------
        Refused
            When there are fewer.
        """
        data = self._stream.read(length)
        self.at += len(data)
        if len(data) < length:
            raise damaged("it is cut off")
        return data

    def skip(self, header: Header, limit: int, depth: int) -> None:
        """Pass over the value of an element.

        Raises
        ------
        Refused
            As ``header``, for all that is in it.
        """
        _, vr, length = header
        if length != UNDEFINED:
            self._pass(length)
        elif vr in _SEQUENCES:
            self._skip_items(vr, limit, depth + 1)
        else:
            self._skip_fragments(limit)

    def skip_item(self, length: int, limit: int, depth: int) -> None:
        """Pass over an item of a sequence, whose header has been read."""
        if length != UNDEFINED:
            self._pass(length)
            return
        while True:
            header = self.header(limit)
            if header is None:
                raise damaged("an item of a sequence has no end")
            if header[0] == ITEM_END:
                return
            self.skip(header, limit, depth)

    def item(self, limit: int, *, delimited: bool) -> int | None:
        """Read the header of a sequence's next item; return its length, ``None`` at the sequence's end.

        Parameters
        ----------
        delimited:
            Whether the sequence ends by a delimiter, else it ends at the limit.
        """
        header = self.header(limit)
        if header is None and not delimited:
            return None
        if header is None:
            raise damaged("a sequence has no end")
        if header[0] == SEQUENCE_END and delimited:
            return None
        if header[0] != ITEM:
            raise damaged("a sequence holds what is no item")
        return header[2]

    def require_depth(self, depth: int) -> None:
        """Refuse sequences nested too deep."""
        if depth > MAX_DEPTH:
            raise damaged(f"its sequences are nested more than {MAX_DEPTH} deep")

    def _skip_items(self, vr: bytes, limit: int, depth: int) -> None:
        self.require_depth(depth)
        explicit = self.explicit
        self.explicit = explicit and vr != b"UN"  # a sequence of unknown elements is implicit (PS3.5, 6.2.2)
        while (length := self.item(limit, delimited=True)) is not None:
            self.skip_item(length, limit, depth)
        self.explicit = explicit

    def _skip_fragments(self, limit: int) -> None:
        while (length := self.item(limit, delimited=True)) is not None:
            if length == UNDEFINED:
                raise damaged("a fragment has no length")
            self._pass(length)

    def _pass(self, length: int) -> None:
        if self._seekable:
            self._stream.seek(length, 1)
            self.at += length
            return
        while length:
            length -= len(self.read(min(length, _SKIP)))


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    """Return an element as it is written, explicit; its value is padded to an even length (PS3.5, 7.1.1)."""
    if len(value) % 2:
        value += b"\0" if vr in (b"UI", b"OB", b"UN") else b" "
    return element_header(tag, vr, len(value)) + value


def element_header(tag: int, vr: bytes, length: int) -> bytes:
    """Return what comes before the value of an element; ``UNDEFINED`` if a delimiter ends it."""
    if vr in _LONG:
        return struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, vr, 0, length)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, length)


def item(body: bytes) -> bytes:
    """Return an item of a sequence."""
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(body)) + body


END_OF_SEQUENCE = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
"""What ends a sequence, or pixel data in fragments."""
