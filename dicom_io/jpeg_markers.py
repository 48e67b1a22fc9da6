"""What a JPEG frame says about its own colours, and whether it is whole (ITU-T T.81, annex B)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import StrEnum

_SOI, _EOI, _SOS, _APP0, _APP14 = 0xD8, 0xD9, 0xDA, 0xE0, 0xEE
_FRAME_HEADERS = frozenset({0xC0, 0xC1, 0xC2})


class JpegColour(StrEnum):
    """How the components of a JPEG image are coded, where its markers say so."""

    RGB = "RGB"
    YCBCR = "YCbCr"
    UNSAID = "unsaid"


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """Size in pixels, number and coding of components, and bits a sample."""

    width: int
    height: int
    components: int
    colour: JpegColour
    precision: int


def read_jpeg_header(data: bytes) -> JpegHeader:
    """Read a JPEG image's markers up to its first scan.

    An Adobe marker (APP14) says whether the colours were transformed, a JFIF marker that they were;
    components named R, G and B were not. Without any of these nothing is said.

    Raises
    ------
    ValueError
        When the bytes are no baseline, extended or progressive JPEG image, or do not reach its end.
    """
    if data[:2] != b"\xff\xd8":
        raise ValueError("no JPEG image")
    if not data.rstrip(b"\0").endswith(b"\xff\xd9"):
        raise ValueError("the JPEG image is cut off")
    position, colour, frame = 2, JpegColour.UNSAID, None
    while True:
        marker, segment, position = _next_segment(data, position)
        if marker == _APP14 and segment[:5] == b"Adobe" and len(segment) >= 12:
            colour = JpegColour.YCBCR if segment[11] else JpegColour.RGB
        elif marker == _APP0 and segment[:5] == b"JFIF\0" and colour is JpegColour.UNSAID:
            colour = JpegColour.YCBCR
        elif marker in _FRAME_HEADERS:
            precision, height, width, components = struct.unpack_from(">BHHB", segment)
            names = bytes(segment[6 + 3 * i] for i in range(components))
            if names == b"RGB" and colour is JpegColour.UNSAID:
                colour = JpegColour.RGB
            frame = (width, height, components, precision)
        elif marker == _SOS:
            break
    if frame is None:
        raise ValueError("the JPEG image has no frame header")
    return JpegHeader(frame[0], frame[1], frame[2], colour, frame[3])


def _next_segment(data: bytes, position: int) -> tuple[int, bytes, int]:
    while data[position : position + 2] == b"\xff\xff":
        position += 1
    try:
        escape, marker, length = struct.unpack_from(">BBH", data, position)
    except struct.error as error:
        raise ValueError("the JPEG header is cut off") from error
    if escape != 0xFF or marker in (_SOI, _EOI) or length < 2:
        raise ValueError("the JPEG header is damaged")
    end = position + 2 + length
    if end > len(data):
        raise ValueError("the JPEG header is cut off")
    return marker, data[position + 4 : end], end
