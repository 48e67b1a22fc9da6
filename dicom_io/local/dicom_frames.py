"""Where the frames of a DICOM file are: its offset tables, or the fragments one after the other (PS3.5, A.4).

A frame may come in several fragments. Which of them belong together is what an offset table says; without
one, a fragment per frame is assumed where the numbers agree, and else a frame begins where a fragment starts
as the first one does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from dicom_io.codecs.encoded_image import DamagedImage
from dicom_io.local.files import Section

_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_HEADER = 8
_SIGNATURE = 2
_MAX_TABLE = 1 << 28


class FrameTable(Protocol):
    """The frames of one file."""

    def frame(self, index: int, at_most: int) -> bytes:
        """Return the bytes of a frame, from 0.

        Raises
        ------
        DamagedImage
            When it is not there, cut off, or of more than ``at_most`` bytes.
        ImageError
            When the file cannot be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class NativeFrames:
    """Uncompressed frames, one after the other.

    Attributes
    ----------
    start:
        Of the first one in the file.
    size:
        Bytes of each.
    """

    file: Section
    start: int
    size: int

    def frame(self, index: int, at_most: int) -> bytes:
        """Return a frame; see ``FrameTable``."""
        data = self.file.read(self.start + index * self.size, self.size)
        if len(data) < self.size:
            raise DamagedImage("the file ends before it does")
        return data


@dataclass(frozen=True, slots=True)
class EncapsulatedFrames:
    """Compressed frames in fragments.

    Attributes
    ----------
    bounds:
        int64 ``[frames + 1]``: where in the file the first fragment's item of each frame begins, and where
        the last frame ends, at the latest.
    """

    file: Section
    bounds: npt.NDArray[np.int64] = field(repr=False)

    def frame(self, index: int, at_most: int) -> bytes:
        """Return a frame, its fragments joined; see ``FrameTable``."""
        if not 0 <= index < len(self.bounds) - 1:
            raise DamagedImage("the file does not have it")
        start, end = int(self.bounds[index]), int(self.bounds[index + 1])
        if end - start > at_most + _HEADER:
            # The last frame has no bound of its own, and fragments are bounded one by one.
            return b"".join(_fragments(self.file, start, end, at_most))
        return b"".join(_parsed(self.file.read(start, end - start), end - start))


def _parsed(data: bytes, size: int) -> Iterator[bytes]:
    """Yield the fragments whose items fill ``size`` bytes, or come before the end of the sequence."""
    at = 0
    while at < size and data[at : at + 4] != _END:
        length = _length(data[at : at + _HEADER])
        fragment = data[at + _HEADER : at + _HEADER + length]
        if len(fragment) < length:
            raise DamagedImage("the file ends before it does")
        yield fragment
        at += _HEADER + length


def _fragments(file: Section, start: int, end: int, at_most: int) -> Iterator[bytes]:
    while start < end:
        header = file.read(start, _HEADER)
        if header[:4] == _END:
            return
        length = _length(header)
        at_most -= length
        if at_most < 0:
            raise DamagedImage("it has more bytes than a frame of its size may")
        fragment = file.read(start + _HEADER, length)
        if len(fragment) < length:
            raise DamagedImage("the file ends before it does")
        yield fragment
        start += _HEADER + length


def _length(header: bytes) -> int:
    if len(header) < _HEADER:
        raise DamagedImage("the file ends before it does")
    if header[:4] != _ITEM:
        raise DamagedImage("the file's table of frames does not lead to it")
    return int.from_bytes(header[4:], "little")


def find_frames(file: Section, start: int, frames: int, extended: bytes | None) -> EncapsulatedFrames:
    """Return where compressed frames are.

    Parameters
    ----------
    start:
        Of the value of Pixel Data (7FE0,0010): of the item with the basic offset table.
    extended:
        The value of the Extended Offset Table (7FE0,0001), where there is one.

    Raises
    ------
    DamagedImage
        When the fragments cannot be told to frames.
    ImageError
        When the file cannot be read.
    """
    length = _length(file.read(start, _HEADER))
    if length > min(_MAX_TABLE, file.size):
        raise DamagedImage("its basic offset table is larger than the file")
    first = start + _HEADER + length
    basic = np.frombuffer(file.read(start + _HEADER, length), "<u4") if length % 4 == 0 else np.empty(0)
    for table in (np.frombuffer(extended or b"", "<u8", len(extended or b"") // 8), basic):
        # A basic table of a file beyond 4 GiB has overflowed in some writers: then it does not ascend.
        if len(table) == frames and (np.diff(table.astype(np.int64)) > 0).all() and table[0] == 0:
            bounds = table.astype(np.int64) + first
            return EncapsulatedFrames(file, np.append(bounds, max(file.size, bounds[-1] + _HEADER)))
    return _scanned(file, first, frames)


def _scanned(file: Section, first: int, frames: int) -> EncapsulatedFrames:
    """Find the frames by looking at each fragment's header."""
    starts, like_first, at = list[int](), list[bool](), first
    signature = file.read(first + _HEADER, _SIGNATURE)
    while (header := file.read(at, _HEADER + _SIGNATURE))[:4] == _ITEM:
        starts.append(at)
        like_first.append(header[_HEADER:] == signature)
        at += _HEADER + _length(header[:_HEADER])
    if at > file.size or header[:4] not in (_END, b""):
        raise DamagedImage("its pixel data is cut off")
    if frames == 1:
        starts = starts[:1]
    elif len(starts) != frames:
        starts = [start for start, begins in zip(starts, like_first, strict=True) if begins]
    if len(starts) != frames or not starts:
        raise DamagedImage(
            f"it has {frames} frames in {len(like_first)} fragments, and no offset table says which belong "
            "together"
        )
    return EncapsulatedFrames(file, np.asarray([*starts, at], np.int64))
