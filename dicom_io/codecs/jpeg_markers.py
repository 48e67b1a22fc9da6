"""The markers of a JPEG image, read before it is decoded (ITU-T T.81, annex B).

Read here because the decoder does not report what determines colours and cost: which marker named the
colours, how many scans there are (each is a pass over the whole image), whether an ICC profile is complete.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from enum import StrEnum

from dicom_io.codecs.encoded_image import DAMAGED_PROFILE, MAX_PROFILE_BYTES, DamagedImage

SIGNATURE = b"\xff\xd8"
"""How every JPEG and JPEG-LS image begins (SOI)."""

_EOI, _SOS, _APP0, _APP2, _APP14 = 0xD9, 0xDA, 0xE0, 0xE2, 0xEE
_WITHOUT_LENGTH = frozenset({0x00, 0x01, *range(0xD0, 0xDA)})
"""No segment begins with these (stuffing, TEM, restarts, SOI, EOI): taken for one, what follows is read in
another way than libjpeg reads it, and the size that was checked is not the one that is decoded."""

_BASELINE, _EXTENDED, _PROGRESSIVE, _LOSSLESS, _JPEG_LS = 0xC0, 0xC1, 0xC2, 0xC3, 0xF7
_CODINGS = {
    _LOSSLESS: "lossless",
    0xC5: "hierarchical",
    0xC6: "hierarchical",
    0xC7: "hierarchical",
    0xC9: "arithmetic-coded",
    0xCA: "arithmetic-coded",
    0xCB: "arithmetic-coded lossless",
    0xCD: "hierarchical",
    0xCE: "hierarchical",
    0xCF: "hierarchical",
    _JPEG_LS: "JPEG-LS",
}
_FRAME_HEADERS = frozenset({*range(0xC0, 0xD0), _JPEG_LS}) - {0xC4, 0xC8, 0xCC}
_TABLES = frozenset({0xC4, 0xDB, 0xDD, 0xFE})
"""Most segments, which say nothing here: Huffman and quantisation tables, restart interval, comment."""

_SEGMENT = struct.Struct(">BBH")
_FRAME = struct.Struct(">BHHB")
_MAX_SEGMENTS = 10_000
_MAX_SCANS = 100
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
_ICC = b"ICC_PROFILE\0"


class JpegColour(StrEnum):
    """How the components of a JPEG image are coded, as far as its markers tell."""

    RGB = "RGB"
    YCBCR = "YCbCr"
    UNSAID = "unsaid"


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """The markers before the first scan.

    Attributes
    ----------
    width, height:
        Pixels.
    colour:
        How three components are coded.
    precision:
        Bits per sample.
    process:
        The frame header's marker, 0xC0 for baseline (T.81, table B.1).
    sampling:
        Horizontal and vertical sampling factor of each component.
    scans:
        Number of scans; at least two where the first scan of a sequential image does not hold all components.
    icc_parts:
        Number, total and bytes of each part of an ICC profile, in the order of the file.
    """

    width: int
    height: int
    components: int
    colour: JpegColour
    precision: int
    process: int
    sampling: tuple[tuple[int, int], ...]
    scans: int
    icc_parts: tuple[tuple[int, int, bytes], ...]

    @property
    def is_sequential(self) -> bool:
        """Whether it is Huffman-coded in one scan, so that it is decoded row by row in bounded memory."""
        return self.process in (_BASELINE, _EXTENDED) and self.scans == 1

    @property
    def is_subsampled(self) -> bool:
        """Whether the components differ in size."""
        return len(set(self.sampling)) > 1

    def require_decodable(self) -> None:
        """Refuse codings that are not decoded here, by their names.

        Raises
        ------
        DamagedImage
            For processes other than Huffman-coded baseline, extended and progressive with 8 bits, and for
            more scans than a genuine encoder writes: each scan makes the decoder visit the whole image.
        """
        if coding := _CODINGS.get(self.process):
            raise DamagedImage(f"{coding} JPEG is not supported; store it as baseline JPEG")
        if self.precision != 8:
            raise DamagedImage(f"its samples have {self.precision} bits, not 8")
        if self.scans > (_MAX_SCANS if self.process == _PROGRESSIVE else self.components):
            raise DamagedImage(f"it has {self.scans} scans")


def read_jpeg_header(data: bytes) -> JpegHeader:
    """Read a JPEG image's markers up to its first scan, and count its scans.

    An Adobe marker (APP14) tells whether the colours were transformed, a JFIF marker that they were;
    components named R, G and B were not. Without any of these, ``UNSAID``.

    Raises
    ------
    DamagedImage
        When the bytes are not a JPEG image, or end before the first scan.
    """
    if not data.startswith(SIGNATURE):
        raise DamagedImage("it is not a JPEG image")
    position, last = 2, len(data) - _SEGMENT.size
    colour, frame = JpegColour.UNSAID, None
    parts: list[tuple[int, int, bytes]] = []
    for _ in range(_MAX_SEGMENTS):
        if position <= last:
            escape, marker, length = _SEGMENT.unpack_from(data, position)
            end = position + 2 + length
            if escape == 0xFF and marker in _TABLES and length >= 2 and end <= len(data):
                position = end
                continue
        marker, segment, position = _next_segment(data, position)
        if marker == _APP14 and segment[:5] == b"Adobe" and len(segment) >= 12:
            colour = JpegColour.YCBCR if segment[11] else JpegColour.RGB
        elif marker == _APP0 and segment[:5] == b"JFIF\0" and colour is JpegColour.UNSAID:
            colour = JpegColour.YCBCR
        elif marker == _APP2 and segment.startswith(_ICC) and len(segment) >= 14:
            parts.append((segment[12], segment[13], segment[14:]))
        elif marker in _FRAME_HEADERS:
            if frame is not None:
                raise DamagedImage("it has two frame headers")
            frame = marker, segment
        elif marker == _SOS:
            break
    else:
        raise DamagedImage("its header never ends")
    if frame is None:
        raise DamagedImage("it has no frame header")
    sequential, whole = frame[0] in (_BASELINE, _EXTENDED), segment[:1] == frame[1][5:6]
    # A decoder stops after a sequential image's first scan if that holds all components.
    scans = 1 if sequential and whole else max(1 + sequential, _count_scans(data, position))
    return _header(*frame, colour, scans, tuple(parts))


def read_jpeg_icc_profile(header: JpegHeader) -> bytes | None:
    """Join the parts of an ICC profile (ICC.1:2010, B.4), in any order.

    Returns
    -------
    The profile, ``None`` where there is none, ``DAMAGED_PROFILE`` when parts are missing or repeated.
    """
    parts = header.icc_parts
    if not parts:
        return None
    totals = {total for _, total, _ in parts}
    by_number = {number: part for number, _, part in parts}
    if totals != {len(parts)} or set(by_number) != set(range(1, len(parts) + 1)):
        return DAMAGED_PROFILE
    profile = b"".join(by_number[number] for number in sorted(by_number))
    return profile if len(profile) <= MAX_PROFILE_BYTES else DAMAGED_PROFILE


def rewritten(data: bytes, *, as_rgb: bool, without_profile: bool) -> bytes:
    """Return the same picture with different markers.

    Parameters
    ----------
    as_rgb:
        Mark three components as RGB, so that decoders do not convert them. A JFIF marker would take
        precedence over Adobe's, so it is dropped.
    without_profile:
        Leave an ICC profile out.
    """
    adobe = b"\xff\xee\x00\x0eAdobe\x00\x64" + bytes(5)  # version 100, flags, transform 0
    kept, position = [SIGNATURE, adobe if as_rgb else b""], 2
    while True:
        start = position
        marker, segment, position = _next_segment(data, position)
        if marker == _SOS:
            return b"".join([*kept, data[start:]])
        about_colour = marker == _APP14 or (marker == _APP0 and segment[:5] == b"JFIF\0")
        is_profile = marker == _APP2 and segment.startswith(_ICC)
        if not (as_rgb and about_colour) and not (without_profile and is_profile):
            kept.append(data[start:position])


def with_usual_headers(data: bytes, header: JpegHeader) -> bytes:
    """Return a sequential JPEG image without the header oddities that decoders warn about and ignore.

    These are an unknown JFIF revision, an unknown transform in Adobe's marker, and a scan's spectral
    parameters, which matter in progressive images only (T.81, B.2.3).
    """
    found, position = bytearray(data), 2
    while True:
        start = position
        marker, segment, position = _next_segment(data, position)
        if marker == _APP0 and segment[:5] == b"JFIF\0" and len(segment) >= 7:
            found[start + 9] = 1
        elif marker == _APP14 and segment[:5] == b"Adobe" and len(segment) >= 12 and segment[11]:
            found[start + 15] = 2 if header.components == 4 else 1
        elif marker == _SOS:
            found[position - 3 : position] = b"\x00\x3f\x00"
            return bytes(found)


def _header(
    process: int,
    segment: bytes,
    colour: JpegColour,
    scans: int,
    icc_parts: tuple[tuple[int, int, bytes], ...],
) -> JpegHeader:
    try:
        precision, height, width, components = _FRAME.unpack_from(segment)
    except struct.error as error:
        raise DamagedImage("its frame header is cut off") from error
    names, factors = segment[6 : 6 + 3 * components : 3], segment[7 : 7 + 3 * components : 3]
    if len(factors) < components:
        raise DamagedImage("its frame header is cut off")
    if names == b"RGB" and colour is JpegColour.UNSAID:
        colour = JpegColour.RGB
    sampling = tuple((factor >> 4, factor & 15) for factor in factors)
    return JpegHeader(width, height, components, colour, precision, process, sampling, scans, icc_parts)


def _count_scans(data: bytes, position: int) -> int:
    """Count the scans, starting within the first one; images appended after the end do not count."""
    for scans in range(1, _MAX_SCANS + 2):
        while True:
            # Within a scan, FF is followed by 00 (stuffing) or a restart's number; anything else is a marker.
            found = _MARKER.search(data, position)
            if found is None or data[found.start() + 1] == _EOI:
                return scans
            try:
                marker, _, position = _next_segment(data, found.start())
            except DamagedImage:
                return scans
            if marker == _SOS:
                break
    return scans


def _next_segment(data: bytes, position: int) -> tuple[int, bytes, int]:
    while data[position : position + 2] == b"\xff\xff":
        position += 1
    try:
        escape, marker, length = _SEGMENT.unpack_from(data, position)
    except struct.error as error:
        raise DamagedImage("its header is cut off") from error
    if escape != 0xFF or marker in _WITHOUT_LENGTH or length < 2:
        raise DamagedImage("its header is damaged")
    end = position + 2 + length
    if end > len(data):
        raise DamagedImage("its header is cut off")
    return marker, data[position + 4 : end], end
