"""RLE Lossless (PS3.5, annex G), with every length known before anything is expanded."""

from __future__ import annotations

import struct
from itertools import pairwise

import imagecodecs
import numpy as np

from dicom_io.codecs.encoded_image import DamagedImage
from dicom_io.codecs.frame_format import FrameFormat
from dicom_io.codecs.samples import ybr_full_to_rgb
from dicom_io.geometry import UInt8Array

_HEADER_BYTES = 64


def decode_rle_frame(data: bytes, form: FrameFormat) -> UInt8Array:
    """Decode a frame to uint8 ``[height, width, samples]``; YCbCr is converted to RGB."""
    pixels = decode_rle(data, form.width, form.height, form.samples)
    return ybr_full_to_rgb(pixels) if form.is_ybr else pixels


def decode_rle(data: bytes, width: int, height: int, samples: int) -> UInt8Array:
    """Decode a frame of 8-bit samples, stored as one segment per sample.

    Returns
    -------
    uint8 ``[height, width, samples]``.

    Raises
    ------
    DamagedImage
        When the segment table does not fit such a frame, or a segment has another length.
    """
    size = width * height
    bounds = _segments(data, samples)
    planes = np.empty((samples, size), np.uint8)
    for plane, (start, end) in zip(planes, bounds, strict=True):
        plane[:] = _unfold(data[start:end], size)
    return planes.reshape(samples, height, width).transpose(1, 2, 0)


def _segments(data: bytes, samples: int) -> list[tuple[int, int]]:
    """Return where each segment starts and ends, as the header tells (PS3.5, G.5)."""
    if len(data) < _HEADER_BYTES:
        raise DamagedImage("its RLE header is cut off")
    count, *offsets = struct.unpack_from("<16I", data)
    if count != samples:
        raise DamagedImage(f"it has {count} RLE segments, {samples} are needed")
    starts = [*offsets[:samples], len(data)]
    if starts[0] != _HEADER_BYTES or any(a >= b for a, b in pairwise(starts)):
        raise DamagedImage("its RLE segments are out of order or outside the frame")
    return list(pairwise(starts))


def _unfold(segment: bytes, size: int) -> UInt8Array:
    """Undo PackBits into a buffer that cannot grow; a segment may be padded to an even length."""
    try:
        unfolded = imagecodecs.packbits_decode(segment, out=bytearray(size + 1))
    except Exception as error:  # the decoder raises anything at hostile bytes
        raise DamagedImage("an RLE segment is cut off, or longer than the frame") from error
    if not size <= len(unfolded) <= size + 1:
        raise DamagedImage(f"an RLE segment has {len(unfolded)} bytes, {size} are needed")
    return np.frombuffer(unfolded, np.uint8, size)
