"""Pixel data: frame after frame through its cleaner, with offset tables that lead to them."""

from __future__ import annotations

import struct
from array import array
from collections import Counter
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from dicom_io.codecs.encoded_image import DamagedImage
from serving.store.deidentify import removed
from serving.store.deidentify.cleaners.pieces import FrameCleaner, FrameShape
from serving.store.deidentify.data_set import EXTENDED_LENGTHS, EXTENDED_OFFSETS, PIXELS
from serving.store.deidentify.elements import END_OF_SEQUENCE, UNDEFINED, ElementReader, element_header
from serving.store.deidentify.fragments import MOST_FRAME, Fragments
from serving.store.deidentify.refused import damaged

_ITEM = struct.Struct("<HHI")
_COPIED = 1 << 20
_BASIC_UP_TO = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class CompressedPixels:
    """Compressed frames on their way from one file to another.

    Attributes
    ----------
    frames:
        How many.
    extended:
        The source's extended offset table, where it has one.
    """

    source: BinaryIO
    fragments: Fragments
    frames: int
    extended: array[int] | None
    clean: FrameCleaner
    shape: FrameShape

    def write(self, target: BinaryIO, count: Counter[str]) -> None:
        """Write the pixel data, and offset tables: basic, or extended where the source has one or needs one.

        Tables come before the frames whose lengths they tell, so room is left and filled in at the end.

        Raises
        ------
        Refused
            When a frame is damaged.
        """
        total = self.fragments.end - self.fragments.starts[0] if self.fragments.starts else 0
        is_extended = self.extended is not None or total > _BASIC_UP_TO
        tables = [(EXTENDED_OFFSETS, 8), (EXTENDED_LENGTHS, 8)] if is_extended else []
        places = []
        for tag, width in tables:
            target.write(element_header(tag, b"OV", width * self.frames))
            places.append(target.tell())
            target.write(bytes(width * self.frames))
        basic = 0 if is_extended else 4 * self.frames
        target.write(element_header(PIXELS, b"OB", UNDEFINED) + _ITEM.pack(0xFFFE, 0xE000, basic))
        places.append(target.tell())
        target.write(bytes(basic))
        offsets, lengths = self._frames(target, count)
        target.write(END_OF_SEQUENCE)
        end = target.tell()
        values = [(offsets, "<u8"), (lengths, "<u8")] if is_extended else [(offsets, "<u4")]
        for place, (numbers, code) in zip(places, values, strict=False):
            target.seek(place)
            target.write(np.asarray(numbers).astype(code).tobytes())
        target.seek(end)

    def _frames(self, target: BinaryIO, count: Counter[str]) -> tuple[array[int], array[int]]:
        offsets, lengths, at = array("Q"), array("Q"), 0
        for number, (first, last) in enumerate(self.fragments.frames(self.frames, self.extended), 1):
            try:
                frame = self.clean(self._read(first, last), self.shape)
            except DamagedImage as error:
                raise damaged(f"frame {number} cannot be cleaned: {error}") from None
            count[removed.FRAME_PART] += frame.removed
            size = frame.size
            pad = size % 2
            target.writelines([_ITEM.pack(0xFFFE, 0xE000, size + pad), *frame.pieces, bytes(pad)])
            offsets.append(at)
            lengths.append(size + pad)
            at += _ITEM.size + size + pad
        return offsets, lengths

    def _read(self, first: int, last: int) -> bytes:
        starts, lengths = self.fragments.starts, self.fragments.lengths
        if sum(lengths[first:last]) > MOST_FRAME:
            raise DamagedImage(f"it has more than {MOST_FRAME} bytes")
        parts = []
        for number in range(first, last):
            self.source.seek(starts[number])
            parts.append(self.source.read(lengths[number]))
            if len(parts[-1]) < lengths[number]:
                raise DamagedImage("it is cut off")
        return parts[0] if len(parts) == 1 else b"".join(parts)


def copy_native(
    reader: ElementReader, length: int, expected: int, wide: bool, target: BinaryIO, count: Counter[str]
) -> None:
    """Write uncompressed pixels; bytes beyond the last one go.

    Parameters
    ----------
    length, expected:
        Bytes that there are, and that the image's size makes.
    wide:
        Whether samples have two bytes.

    Raises
    ------
    Refused
        When there are fewer.
    """
    if length < expected:
        raise damaged("its pixel data is shorter than its frames")
    count[removed.FRAME_PART] += length > expected + expected % 2
    target.write(element_header(PIXELS, b"OW" if wide else b"OB", expected + expected % 2))
    left = expected
    while left:
        piece = reader.read(min(left, _COPIED))
        target.write(piece)
        left -= len(piece)
    target.write(bytes(expected % 2))
