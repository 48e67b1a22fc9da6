"""The boxes of JP2 and JPEG XL containers (ISO/IEC 14496-12, 4.2)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from dicom_io.codecs.encoded_image import DamagedImage

_HEADER_BYTES = 8
_MAX_BOXES = 1000


def boxes(data: bytes, position: int = 0) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each box from a position on, and where its contents start and end.

    The end may lie beyond the data: a caller that needs the whole box must check. Bytes at the end that are
    too few for a box are passed over: DICOM pads frames to an even length (PS3.5, A.4).

    Raises
    ------
    DamagedImage
        When a box ends before its contents begin, or there are too many boxes.
    """
    for _ in range(_MAX_BOXES):
        if position + _HEADER_BYTES > len(data):
            return
        size, kind = struct.unpack_from(">I4s", data, position)
        start = position + _HEADER_BYTES
        if size == 1:  # a size of 64 bits follows
            if start + 8 > len(data):
                return
            (size,) = struct.unpack_from(">Q", data, start)
            start += 8
        end = position + size if size else len(data)  # 0: up to the end of the file
        if end < start:
            raise DamagedImage("its boxes are damaged")
        yield kind, start, end
        position = end
    raise DamagedImage("it has too many boxes")
