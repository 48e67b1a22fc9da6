"""Where compressed frames are in a file: the fragments, and which of them make a frame (PS3.5, A.4)."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO

from serving.store.deidentify.refused import damaged

_HEADER = struct.Struct("<HHI")
_ITEM, _END = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)
_SIGNATURE = 2
_MOST_FRAGMENTS = 8_000_000
MOST_FRAME = 64 << 20
"""Bytes of a compressed frame, which is held as a whole; those of slides have some ten thousand."""


@dataclass(frozen=True, slots=True)
class Fragments:
    """The fragments of a file's pixel data.

    Attributes
    ----------
    basic:
        The basic offset table.
    starts, lengths:
        Of each fragment's bytes, from the start of the file.
    begin:
        For each, 1 where its first bytes are those of the first one.
    end:
        Where the pixel data ends, its delimiter included.
    """

    basic: array[int]
    starts: array[int]
    lengths: array[int]
    begin: bytes
    end: int

    def frames(self, count: int, extended: array[int] | None) -> Iterator[tuple[int, int]]:
        """Yield the first fragment of each frame, and the first that is no more of it.

        Parameters
        ----------
        extended:
            The extended offset table.

        Raises
        ------
        Refused
            When nothing says which fragments belong together.
        """
        firsts = self._firsts(count, extended)
        for number, first in enumerate(firsts):
            yield first, firsts[number + 1] if number + 1 < count else len(self.starts)

    def _firsts(self, count: int, extended: array[int] | None) -> array[int] | range:
        fragments = len(self.starts)
        if count == 1 and fragments:
            return range(1)
        if count == fragments:
            return range(count)
        if count > fragments:
            raise damaged(f"it has {count} frames in {fragments} fragments")
        for table in (extended, self.basic):
            if table is not None and len(table) == count and table[0] == 0:
                return self._by_offsets(table)
        if self.begin.count(1) == count:  # a frame begins where a fragment starts as the first one does
            return array("Q", (number for number, begins in enumerate(self.begin) if begins))
        raise damaged(
            f"it has {count} frames in {fragments} fragments, and no offset table says which belong together"
        )

    def _by_offsets(self, table: array[int]) -> array[int]:
        origin = self.starts[0]
        numbers = {start - origin: number for number, start in enumerate(self.starts)}
        found = array("Q", (numbers.get(offset, 0) for offset in table))
        if found[0] or any(a >= b for a, b in pairwise(found)):
            raise damaged("its offset table does not lead to its frames")
        return found


def find_fragments(stream: BinaryIO, start: int, size: int) -> Fragments:
    """Read the headers of all fragments.

    Parameters
    ----------
    start:
        Of the item with the basic offset table.
    size:
        Of the file.

    Raises
    ------
    Refused
        When they are cut off, or a length leads out of the file.
    """
    starts, lengths, begin, at = array("Q"), array("Q"), bytearray(), start
    signature = b""
    while True:
        stream.seek(at)
        data = stream.read(_HEADER.size + _SIGNATURE)
        if len(data) < _HEADER.size:
            raise damaged("its pixel data is cut off")
        group, number, length = _HEADER.unpack_from(data)
        at += _HEADER.size
        if (group, number) == _END:
            break
        if (group, number) != _ITEM:
            raise damaged("its pixel data holds what is no fragment")
        if at + length > size:
            raise damaged("its pixel data is cut off")
        if len(starts) > _MOST_FRAGMENTS:
            raise damaged(f"it has more than {_MOST_FRAGMENTS} fragments")
        starts.append(at)
        lengths.append(length)
        if len(starts) <= 2:  # the first is the basic offset table
            signature = data[_HEADER.size :]
        begin.append(data[_HEADER.size :] == signature)
        at += length
    if not starts:
        raise damaged("its pixel data holds no frame")
    table = _basic_table(stream, starts[0], lengths[0])
    return Fragments(table, starts[1:], lengths[1:], bytes(begin[1:]), at)


def _basic_table(stream: BinaryIO, start: int, length: int) -> array[int]:
    if length % 4 or length > 4 * _MOST_FRAGMENTS:
        raise damaged("its basic offset table is damaged")
    stream.seek(start)
    return offsets(stream.read(length), 4)


def offsets(data: bytes, width: int) -> array[int]:
    """Return the numbers of an offset table, of 4 or 8 bytes each."""
    count = len(data) // width
    return array("Q", struct.unpack(f"<{count}{'I' if width == 4 else 'Q'}", data[: count * width]))
