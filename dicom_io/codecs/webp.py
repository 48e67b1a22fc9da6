"""WebP to pixels, by libwebp through Pillow; the container is read here (RFC 9649)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from PIL import WebPImagePlugin

from dicom_io.codecs.encoded_image import (
    DAMAGED_PROFILE,
    MAX_PROFILE_BYTES,
    DamagedImage,
    EncodedImage,
    check_size,
)
from dicom_io.codecs.pillow_pixels import pillow_pixels
from dicom_io.geometry import UInt8Array

_MAX_CHUNKS = 10_000


def is_webp(data: bytes) -> bool:
    """Return whether bytes start like a WebP file."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def open_webp(data: bytes, max_pixels: int) -> EncodedImage:
    """Read the header of a WebP image; of an animation, the first image is decoded."""
    width, height, profile = _read_chunks(data)
    check_size(width, height, max_pixels)

    def decode() -> tuple[UInt8Array, bytes | None]:
        return pillow_pixels(WebPImagePlugin.WebPImageFile, data, width, height), profile

    return EncodedImage(width, height, False, decode)


def _read_chunks(data: bytes) -> tuple[int, int, bytes | None]:
    """Return the canvas's size and the ICC profile."""
    size: tuple[int, int] | None = None
    profile = None
    for number, (kind, body) in enumerate(_chunks(data)):
        if number == 0:
            size = _canvas(kind, body)
        if kind == b"ICCP":
            profile = body if profile is None and len(body) <= MAX_PROFILE_BYTES else DAMAGED_PROFILE
    if size is None:
        raise DamagedImage("it holds no image")
    return *size, profile


def _canvas(kind: bytes, body: bytes) -> tuple[int, int]:
    if kind == b"VP8X" and len(body) >= 10:
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if kind == b"VP8L" and len(body) >= 5 and body[0] == 0x2F:
        fields = int.from_bytes(body[1:5], "little")
        return 1 + (fields & 0x3FFF), 1 + (fields >> 14 & 0x3FFF)
    if kind == b"VP8 " and body[3:6] == b"\x9d\x01\x2a" and len(body) >= 10:
        across, down = struct.unpack_from("<HH", body, 6)
        return across & 0x3FFF, down & 0x3FFF
    raise DamagedImage("its header is damaged")


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 12
    for _ in range(_MAX_CHUNKS):
        if position + 8 > len(data):
            return
        kind, size = struct.unpack_from("<4sI", data, position)
        end = position + 8 + size
        if end > len(data):
            raise DamagedImage("it is cut off")
        yield kind, data[position + 8 : end]
        position = end + size % 2
    raise DamagedImage("it has too many chunks")
