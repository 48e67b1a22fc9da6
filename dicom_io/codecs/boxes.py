"""The boxes of JP2 and JPEG XL containers (ISO/IEC 14496-12, 4.2)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from dicom_io.codecs.encoded_image import DamagedImage

_MAX_BOXES = 1000


def boxes(data: bytes, position: int = 0) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each box from a position on, and where its contents start and end.

    The end may lie beyond the data: who needs a whole box must look.

    Raises
    ------
    DamagedImage
        When a box's header is cut off or damaged, or there are too many boxes.
    """
    for _ in range(_MAX_BOXES):
        if position >= len(data):
            return
        try:
            size, kind = struct.unpack_from(">I4s", data, position)
            start = position + 8
            if size == 1:  # a size of 64 bits follows
                (size,) = struct.unpack_from(">Q", data, start)
                start += 8
        except struct.error as error:
            raise DamagedImage("its boxes are cut off") from error
        end = position + size if size else len(data)  # 0: up to the end of the file
        if end < start:
            raise DamagedImage("its boxes are damaged")
        yield kind, start, end
        position = end
    raise DamagedImage("it has too many boxes")
