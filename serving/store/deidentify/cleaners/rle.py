"""RLE frames with nothing between, within or after their segments (PS3.5, annex G)."""

from __future__ import annotations

import struct
from itertools import pairwise

from dicom_io.codecs.encoded_image import DamagedImage
from serving.store.deidentify.cleaners.pieces import CleanFrame, FrameShape

_HEADER_BYTES = 64


def clean_rle(data: bytes, shape: FrameShape) -> CleanFrame:
    """Clean a frame: each segment ends with its last pixel.

    Raises
    ------
    DamagedImage
        When it has other segments than its samples need, or one is too short.
    """
    if len(data) < _HEADER_BYTES:
        raise DamagedImage("its RLE header is cut off")
    count, *offsets = struct.unpack_from("<16I", data)
    if count != shape.samples * shape.sample_bytes:
        raise DamagedImage("its RLE header does not fit its samples")
    starts = [*offsets[:count], len(data)]
    if starts[0] != _HEADER_BYTES or any(a >= b for a, b in pairwise(starts)):
        raise DamagedImage("its RLE segments are out of order or outside the frame")
    segments = [_until_full(data[a:b], shape.width * shape.height) for a, b in pairwise(starts)]
    removed = int(any(offsets[count:])) + sum(
        b - a - len(segment) > 1 for (a, b), segment in zip(pairwise(starts), segments, strict=True)
    )
    table, at = [count], _HEADER_BYTES
    for segment in segments:
        table.append(at)
        at += len(segment)
    header = struct.pack("<16I", *table, *[0] * (15 - count))
    return CleanFrame((header, *segments), removed)


def _until_full(segment: bytes, pixels: int) -> bytes:
    """Return a segment up to the run that fills its plane, padded to an even length (PS3.5, G.3)."""
    at, size = 0, len(segment)
    while pixels > 0:
        if at >= size:
            raise DamagedImage("an RLE segment ends before its pixels do")
        run = segment[at]
        if run < 128:
            at += run + 2
            pixels -= run + 1
        elif run > 128:
            at += 2
            pixels -= 257 - run
        else:
            at += 1
    if at > size or pixels:
        raise DamagedImage("an RLE segment has other pixels than its plane")
    return segment[:at] + bytes(at % 2)
