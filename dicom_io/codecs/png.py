"""PNG to pixels: chunks are walked here, so that decoders see only those that make the picture.

Text and profile chunks may expand to far more than the picture takes.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import imagecodecs
import numpy as np
from PIL import PngImagePlugin

from dicom_io.codecs.encoded_image import (
    DAMAGED_PROFILE,
    MAX_PROFILE_BYTES,
    DamagedImage,
    EncodedImage,
    check_depth,
    check_size,
)
from dicom_io.codecs.pillow_pixels import pillow_pixels
from dicom_io.geometry import UInt8Array

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_PICTURE = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_MAX_CHUNKS = 100_000
_GRAY, _RGB, _PALETTE, _RGBA = 0, 2, 3, 6  # colour types (PNG specification, 11.2.2)


@dataclass(frozen=True, slots=True)
class Png:
    """The chunks of a PNG image.

    Attributes
    ----------
    picture:
        A PNG image made of only the chunks that make the picture.
    icc_profile:
        The contents of iCCP, still compressed, with its CRC; ``None`` where there is none.
    plain:
        Whether no colour is declared transparent.
    """

    width: int
    height: int
    depth: int
    colour: int
    picture: bytes
    icc_profile: bytes | None
    plain: bool


def open_png(data: bytes, max_pixels: int) -> EncodedImage:
    """Read the chunks of a PNG image."""
    png = read_png(data)
    check_size(png.width, png.height, max_pixels)
    check_depth(png.depth)

    def decode(place: UInt8Array | None = None) -> tuple[UInt8Array, bytes | None]:
        return _decode(png, place), _read_profile(png.icc_profile)

    decode_to = decode if _decodes_at_once(png) and png.colour == _RGB else None
    return EncodedImage(png.width, png.height, True, decode, decode_to)


def read_png(data: bytes) -> Png:
    """Walk through the chunks (PNG specification, 5.3); metadata is skipped unread.

    Raises
    ------
    DamagedImage
        When it is cut off.
    """
    if data[12:16] != b"IHDR" or len(data) < 33:
        raise DamagedImage("its header is missing or cut off")
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    kept, profile, plain, skipped = [SIGNATURE], None, True, False
    position = len(SIGNATURE)
    for _ in range(_MAX_CHUNKS):
        if position + 12 > len(data):
            raise DamagedImage("it is cut off")
        (length,) = struct.unpack_from(">I", data, position)
        kind, end = data[position + 4 : position + 8], position + 12 + length
        if end > len(data):
            raise DamagedImage("it is cut off")
        if kind in _PICTURE:
            kept.append(data[position:end])
            plain = plain and kind != b"tRNS"
        elif kind[0] & 0x20:  # ancillary
            skipped = True
            if kind == b"iCCP":
                profile = DAMAGED_PROFILE if profile is not None else data[position + 8 : end]
        else:
            raise DamagedImage("it has an unknown critical chunk")
        position = end
        if kind == b"IEND":
            break
    else:
        raise DamagedImage("it has too many chunks")
    return Png(width, height, depth, colour, b"".join(kept) if skipped else data, profile, plain)


def _decodes_at_once(png: Png) -> bool:
    """Return whether samples are pixels as they are, and libspng is enough."""
    return png.depth == 8 and png.plain and png.colour in (_GRAY, _RGB, _RGBA)


def _decode(png: Png, place: UInt8Array | None) -> UInt8Array:
    if _decodes_at_once(png):
        try:
            pixels = np.atleast_3d(imagecodecs.spng_decode(png.picture, out=place))
        except Exception:  # the decoder raises anything at hostile bytes; Pillow judges them below
            pixels = np.empty((0, 0, 0), np.uint8)
        if pixels.shape[:2] == (png.height, png.width):
            if place is not None:
                return place
            return np.asarray(pixels[:, :, : 1 if png.colour == _GRAY else 3])
    return pillow_pixels(PngImagePlugin.PngImageFile, png.picture, png.width, png.height)


def _read_profile(chunk: bytes | None) -> bytes | None:
    """Decompress iCCP: a name, NUL, 0 for zlib, the profile (PNG specification, 11.3.3.3), and the CRC."""
    if not chunk:
        return chunk
    body, crc = chunk[:-4], int.from_bytes(chunk[-4:], "big")
    name, _, packed = body.partition(b"\0")
    if zlib.crc32(b"iCCP" + body) != crc or not 1 <= len(name) <= 79 or packed[:1] != b"\0":
        return DAMAGED_PROFILE
    unfold = zlib.decompressobj()
    try:
        profile = unfold.decompress(packed[1:], MAX_PROFILE_BYTES)
    except zlib.error:
        return DAMAGED_PROFILE
    return profile if unfold.eof else DAMAGED_PROFILE
