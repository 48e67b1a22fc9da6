"""Where the frames of an instance are in its file: twelve bytes a frame, found by one walk when it comes in.

The offset tables of a file may be missing, may have overflowed, and say nothing of a file that was cut off;
the items themselves do (PS3.5, A.4). So each is looked at once, and frames are then read by one ``pread``.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from dicom_io.local.files import Section

_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
ITEM_HEADER = 8
"""Bytes of an item's tag and length (PS3.5, 7.5)."""

_SIGNATURE = 2
_ENTRY = struct.Struct("<QI")
_MOST_FRAGMENTS = 1 << 22


class UnreadableInstance(Exception):
    """A file that cannot be an instance of the store; the text is why, as a clause without any values."""


class Layout(StrEnum):
    """How a table's entries are to be read."""

    NATIVE = "native"
    """One entry: where the first frame begins, and the bytes of each."""

    WHOLE = "whole"
    """An entry a frame, which is one fragment: the fragment's bytes."""

    FRAGMENTED = "fragmented"
    """An entry a frame: its items, with their headers."""


@dataclass(frozen=True, slots=True)
class FrameTable:
    """Where frames are.

    Attributes
    ----------
    count:
        Frames that there are.
    entries:
        Of each uint64 offset in the file and uint32 length in bytes, little endian; see ``Layout``.
    """

    layout: Layout
    count: int
    entries: bytes = field(repr=False)

    def where(self, number: int) -> tuple[int, int]:
        """Return offset and length of a frame, from 1; of a fragmented one, those of its items."""
        if self.layout is Layout.NATIVE:
            start, size = _ENTRY.unpack(self.entries)
            return start + (number - 1) * size, size
        offset, length = _ENTRY.unpack_from(self.entries, (number - 1) * _ENTRY.size)
        return offset, length


NO_FRAMES = FrameTable(Layout.WHOLE, 0, b"")


def joined(items: bytes) -> bytes:
    """Return the bytes of a fragmented frame out of its items."""
    at, fragments = 0, []
    while at + ITEM_HEADER <= len(items):
        length = int.from_bytes(items[at + 4 : at + ITEM_HEADER], "little")
        fragments.append(items[at + ITEM_HEADER : at + ITEM_HEADER + length])
        at += ITEM_HEADER + length
    return b"".join(fragments)


def native_table(file: Section, start: int, length: int, frames: int, frame_bytes: int) -> FrameTable:
    """Return where uncompressed frames are.

    Parameters
    ----------
    start, length:
        Of the value of Pixel Data.
    frame_bytes:
        Bytes of a frame; 0 where frames do not begin at whole bytes.

    Raises
    ------
    UnreadableInstance
    """
    if start + length > file.size or length < frames * frame_bytes:
        raise UnreadableInstance("its pixel data is cut off")
    if frame_bytes == 0:
        return NO_FRAMES
    return FrameTable(Layout.NATIVE, frames, _ENTRY.pack(start, frame_bytes))


def encapsulated_table(file: Section, start: int, frames: int, extended: bytes) -> FrameTable:
    """Return where compressed frames are.

    Parameters
    ----------
    start:
        Of the value of Pixel Data: of the item with the basic offset table.
    extended:
        The value of Extended Offset Table (7FE0,0001), if any.

    Raises
    ------
    UnreadableInstance
        When the items do not fill the file to their end, or cannot be told to frames.
    """
    items = _read_items(file, start)
    if not items.starts:
        raise UnreadableInstance("its pixel data has no offset table")
    basic = file.read(items.starts[0] + ITEM_HEADER, items.lengths[0])
    fragments = _Items(items.starts[1:], items.lengths[1:])
    starts = np.asarray(fragments.starts, np.int64)
    if len(starts) == frames:
        return FrameTable(Layout.WHOLE, frames, _entries(starts + ITEM_HEADER, fragments.lengths))
    tables = (
        np.frombuffer(extended, "<u8", len(extended) // 8),
        np.frombuffer(basic, "<u4", len(basic) // 4),
    )
    begins = _beginnings(file, starts, frames, tables)
    lengths = np.diff(begins, append=fragments.end)
    if (lengths >= 1 << 32).any():
        raise UnreadableInstance("a frame of its pixel data has 4 GiB or more")
    return FrameTable(Layout.FRAGMENTED, frames, _entries(begins, lengths))


def _entries(offsets: npt.ArrayLike, lengths: npt.ArrayLike) -> bytes:
    table = np.empty(len(np.asarray(offsets)), [("offset", "<u8"), ("length", "<u4")])
    table["offset"], table["length"] = offsets, lengths
    return table.tobytes()


@dataclass(slots=True)
class _Items:
    """Where items begin, and the lengths of their values: a hostile file may have millions."""

    starts: array[int] = field(default_factory=lambda: array("Q"))
    lengths: array[int] = field(default_factory=lambda: array("L"))

    @property
    def end(self) -> int:
        """Where the last one ends."""
        return self.starts[-1] + ITEM_HEADER + self.lengths[-1]


def _read_items(file: Section, at: int) -> _Items:
    """Return all items up to the delimiter of their sequence, which has to be there."""
    items = _Items()
    while (header := file.read(at, ITEM_HEADER))[:4] == _ITEM and len(header) == ITEM_HEADER:
        items.starts.append(at)
        items.lengths.append(int.from_bytes(header[4:], "little"))
        if items.end > file.size or len(items.starts) > _MOST_FRAGMENTS:
            raise UnreadableInstance("its pixel data is cut off, or has too many fragments")
        at = items.end
    if header[:4] != _END or len(header) < ITEM_HEADER:
        raise UnreadableInstance("its pixel data is cut off or damaged")
    return items


def _beginnings(
    file: Section,
    starts: npt.NDArray[np.int64],
    frames: int,
    tables: Sequence[npt.NDArray[np.unsignedinteger]],
) -> npt.NDArray[np.int64]:
    """Return where the first item of each frame is; see ``dicom_io.local.dicom_frames``."""
    if len(starts) < frames or frames < 1:
        raise UnreadableInstance("its pixel data has fewer fragments than frames")
    if frames == 1:
        return np.asarray(starts[:1], np.int64)
    for table in tables:
        if len(table) == frames and table[0] == 0:
            begins = np.asarray(table, np.int64) + starts[0]
            if np.isin(begins, starts).all() and (np.diff(begins) > 0).all():
                return np.asarray(begins, np.int64)
    signatures = [file.read(int(start) + ITEM_HEADER, _SIGNATURE) for start in starts]
    alike = np.asarray(
        [s for s, one in zip(starts, signatures, strict=True) if one == signatures[0]], np.int64
    )
    if len(alike) != frames:
        raise UnreadableInstance("no offset table tells which fragments of its pixel data are a frame")
    return alike
