"""The first fields of a JPEG XL image: its size and bit depth, without decoding it.

The decoder allocates the whole image when it opens one, so its size must be known before.
Field names and bit layouts are those of ISO/IEC 18181-1, annexes C and D, and 18181-2 (boxes).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

CODESTREAM_SIGNATURE = b"\xff\x0a"
CONTAINER_SIGNATURE = b"\x00\x00\x00\x0cJXL \x0d\x0a\x87\x0a"

_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


@dataclass(frozen=True, slots=True)
class JxlHeader:
    """Width and height in pixels before any orientation, bits per sample, and whether it is float."""

    width: int
    height: int
    bits_per_sample: int
    is_float: bool


def is_jxl(data: bytes) -> bool:
    """Say whether the bytes begin as a JPEG XL codestream or container."""
    return data.startswith((CODESTREAM_SIGNATURE, CONTAINER_SIGNATURE))


def read_jxl_header(data: bytes) -> JxlHeader:
    """Read size and bit depth.

    Raises
    ------
    ValueError
        When the bytes end before the header does, or are no JPEG XL.
    """
    bits = _Bits(_codestream(data)[len(CODESTREAM_SIGNATURE) :][:64])
    width, height = _size_header(bits)
    if bits.take(1):  # ImageMetadata.all_default
        return JxlHeader(width, height, 8, False)
    if bits.take(1):  # extra_fields
        bits.take(3)  # orientation
        if bits.take(1):  # have_intrinsic_size
            _size_header(bits)
        if bits.take(1):  # have_preview
            _skip_preview_header(bits)
        if bits.take(1):  # have_animation
            _skip_animation_header(bits)
    if bits.take(1):  # float_sample
        return JxlHeader(width, height, bits.u32((32, 0), (16, 0), (24, 0), (1, 6)), True)
    return JxlHeader(width, height, bits.u32((8, 0), (10, 0), (12, 0), (1, 6)), False)


class _Bits:
    """Reads little-endian bit fields."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        if count > self._left:
            raise ValueError("the JPEG XL header is cut off")
        value = self._value & ((1 << count) - 1)
        self._value >>= count
        self._left -= count
        return value

    def u32(self, *choices: tuple[int, int]) -> int:
        """Read a U32 field: two bits select (offset, number of bits)."""
        offset, count = choices[self.take(2)]
        return offset + self.take(count)


def _codestream(data: bytes) -> bytes:
    if data.startswith(CODESTREAM_SIGNATURE):
        return data
    position = len(CONTAINER_SIGNATURE)
    while position + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, position)
        start = position + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, start)
            start += 8
        if kind == b"jxlc":
            return data[start : start + 128]
        if kind == b"jxlp":
            return data[start + 4 : start + 132]
        if size < 8:
            break
        position += size
    raise ValueError("the JPEG XL container holds no codestream")


def _dimension(bits: _Bits, div8: bool) -> int:
    if div8:
        return 8 * (1 + bits.take(5))
    return bits.u32((1, 9), (1, 13), (1, 18), (1, 30))


def _size_header(bits: _Bits) -> tuple[int, int]:
    div8 = bool(bits.take(1))
    height = _dimension(bits, div8)
    ratio = bits.take(3)
    if ratio:
        numerator, denominator = _RATIOS[ratio - 1]
        return height * numerator // denominator, height
    return _dimension(bits, div8), height


def _skip_preview_header(bits: _Bits) -> None:
    choices = (
        ((16, 0), (32, 0), (1, 5), (33, 9)) if bits.take(1) else ((1, 6), (65, 8), (321, 10), (1345, 12))
    )
    bits.u32(*choices)
    if not bits.take(3):
        bits.u32(*choices)


def _skip_animation_header(bits: _Bits) -> None:
    bits.u32((100, 0), (1000, 0), (1, 10), (1, 30))
    bits.u32((1, 0), (1001, 0), (1, 8), (1, 10))
    bits.u32((0, 0), (0, 3), (0, 16), (0, 32))
    bits.take(1)
