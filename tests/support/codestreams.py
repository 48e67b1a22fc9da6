"""Codestreams and boxes that no library at hand writes: subsampled JPEG 2000, JP2 headers, JPEG-LS planes."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import imagecodecs
import numpy as np

from tests.support.tissue import UInt8Array


def joined_components(
    planes: Sequence[UInt8Array], encode: Callable[[UInt8Array], bytes], factors: Sequence[tuple[int, int]]
) -> bytes:
    """Return one JPEG 2000 codestream of several planes, each sampled every so many pixels.

    With one tile, one layer and one resolution a component is one packet, so packets can be put together.

    Parameters
    ----------
    encode:
        Plane to a codestream of one component and one resolution.
    factors:
        Horizontal and vertical distance of each plane's samples; the first plane's are (1, 1).
    """
    streams = [encode(np.ascontiguousarray(plane)) for plane in planes]
    packets = b"".join(stream[stream.index(b"\xff\x93") + 2 : -2] for stream in streams)
    first = streams[0]
    (length,) = struct.unpack_from(">H", first, 4)
    sizes = b"".join(struct.pack(">3B", 7, dx, dy) for dx, dy in factors)
    siz = struct.pack(">H", 38 + len(sizes)) + first[6:40] + struct.pack(">H", len(planes)) + sizes
    between = first[4 + length : first.index(b"\xff\x90")]
    part = struct.pack(">HHHIBB", 0xFF90, 10, 0, 14 + len(packets), 0, 1) + b"\xff\x93" + packets
    return first[:4] + siz + between + part + b"\xff\xd9"


def one_resolution(plane: UInt8Array) -> bytes:
    """Encode a plane losslessly as JPEG 2000 with a single resolution."""
    return bytes(imagecodecs.jpeg2k_encode(plane, level=0, codecformat="J2K", resolutions=1))


def subsampled(ybr: UInt8Array, dx: int, dy: int) -> bytes:
    """Return JPEG 2000 of YCbCr whose chroma is every so many pixels, ``[h, w, 3]``."""
    planes = [ybr[:, :, 0], ybr[::dy, ::dx, 1], ybr[::dy, ::dx, 2]]
    return joined_components(planes, one_resolution, [(1, 1), (dx, dy), (dx, dy)])


def box(kind: bytes, body: bytes) -> bytes:
    """Return a box of a JP2 file (ITU-T T.800, I.4)."""
    return struct.pack(">I4s", 8 + len(body), kind) + body


def jp2(codestream: bytes, *header: bytes) -> bytes:
    """Return a JP2 file with boxes of its header, after an image header box that fits."""
    bottom, right = struct.unpack_from(">I", codestream, 12)[0], struct.unpack_from(">I", codestream, 8)[0]
    (components,) = struct.unpack_from(">H", codestream, 40)
    image = box(b"ihdr", struct.pack(">IIHBBBB", bottom, right, components, codestream[42], 7, 0, 0))
    return (
        box(b"jP  ", b"\r\n\x87\n")
        + box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
        + box(b"jp2h", image + b"".join(header))
        + box(b"jp2c", codestream)
    )


def enumerated(space: int) -> bytes:
    """Return a colour specification box: 16 is sRGB, 17 gray, 18 sYCC (T.800, table I.10)."""
    return box(b"colr", b"\1\0\0" + struct.pack(">I", space))


def jpeg_ls_planes(pixels: UInt8Array) -> bytes:
    """Return JPEG-LS with a scan for each component (ITU-T T.87, interleave mode 0)."""
    height, width, count = pixels.shape
    parts = b"".join(struct.pack(">3B", i + 1, 0x11, 0) for i in range(count))
    frame = struct.pack(">HHBHHB", 0xFFF7, 8 + 3 * count, 8, height, width, count) + parts
    scans = b""
    for i in range(count):
        one = bytes(imagecodecs.jpegls_encode(np.ascontiguousarray(pixels[:, :, i])))
        start = one.index(b"\xff\xda")
        scans += struct.pack(">HHBBBBBB", 0xFFDA, 8, 1, i + 1, 0, 0, 0, 0) + one[start + 10 : -2]
    return b"\xff\xd8" + frame + scans + b"\xff\xd9"
