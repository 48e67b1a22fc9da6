"""JPEG-LS (ITU-T T.87, annex C), by CharLS through imagecodecs, once its markers are known to be complete."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import imagecodecs
import numpy as np

from dicom_io.codecs.encoded_image import DamagedImage
from dicom_io.codecs.frame_format import FrameFormat
from dicom_io.codecs.jpeg_markers import SIGNATURE
from dicom_io.codecs.samples import ybr_full_to_rgb
from dicom_io.geometry import UInt8Array

_EOI, _SOS, _SOF55, _LSE, _DRI, _COM = 0xD9, 0xDA, 0xF7, 0xF8, 0xDD, 0xFE
_MAX_SEGMENTS = 1000
_NEAR_AT_MOST = 127
_LINE, _SAMPLE = 1, 2


@dataclass(frozen=True, slots=True)
class JpegLsHeader:
    """Size in pixels, number of components and bits per sample."""

    width: int
    height: int
    components: int
    precision: int


def read_jpeg_ls_header(data: bytes) -> JpegLsHeader:
    """Read the frame header, and require that all scans and the end marker are there.

    Raises
    ------
    DamagedImage
        When something is missing; CharLS may take seconds to find out.
    """
    if not data.startswith(SIGNATURE):
        raise DamagedImage("it is not a JPEG-LS image")
    header, scanned, position = None, 0, 2
    for _ in range(_MAX_SEGMENTS):
        position = _next_marker(data, position, after_scan=scanned > 0)
        marker = data[position + 1]
        if marker == _EOI:
            break
        segment = _segment(data, position)
        position += 2 + len(segment) + 2
        if marker == _SOF55:
            header = _read_frame(segment)
        elif marker == _SOS:
            scanned += _read_scan(segment, header)
        elif marker not in (_LSE, _DRI, _COM) and not 0xE0 <= marker <= 0xEF:
            raise DamagedImage("its JPEG-LS markers are damaged")
    else:
        raise DamagedImage("its JPEG-LS header never ends")
    if header is None or scanned != header.components:
        raise DamagedImage("its JPEG-LS scans do not make up all components")
    return header


def decode_jpeg_ls_frame(data: bytes, form: FrameFormat) -> UInt8Array:
    """Decode a frame to uint8 ``[height, width]`` or ``[height, width, samples]``."""
    header = read_jpeg_ls_header(data)
    form.require_size(header.width, header.height)
    form.require_samples(header.components, header.precision)
    try:
        pixels = np.asarray(imagecodecs.jpegls_decode(data))
    except Exception as error:  # the decoder raises anything at hostile bytes
        raise DamagedImage("its JPEG-LS data is damaged or cut off") from error
    return ybr_full_to_rgb(pixels) if form.is_ybr else pixels


def _next_marker(data: bytes, position: int, *, after_scan: bool) -> int:
    """Return where the next marker is; within a scan, FF is followed by a byte below 0x80 (T.87, A.1)."""
    while True:
        at = data.find(b"\xff", position)
        if at < 0 or at + 1 >= len(data):
            raise DamagedImage("its JPEG-LS data is cut off")
        if at != position and not after_scan:
            raise DamagedImage("its JPEG-LS markers are damaged")
        if data[at + 1] >= 0x80 and data[at + 1] != 0xFF and not 0xD0 <= data[at + 1] <= 0xD7:
            return at
        position = at + 1


def _segment(data: bytes, position: int) -> bytes:
    (length,) = struct.unpack_from(">H", data[position + 2 : position + 4].ljust(2, b"\0"))
    segment = data[position + 4 : position + 2 + length]
    if length < 2 or len(segment) != length - 2:
        raise DamagedImage("its JPEG-LS markers are cut off")
    return segment


def _read_frame(segment: bytes) -> JpegLsHeader:
    try:
        precision, height, width, components = struct.unpack_from(">BHHB", segment)
        factors = {segment[7 + 3 * i] for i in range(components)}
    except (struct.error, IndexError) as error:
        raise DamagedImage("its JPEG-LS header is cut off") from error
    if factors != {0x11} or not width or not height:
        raise DamagedImage("its components are subsampled, or it is empty")
    return JpegLsHeader(width, height, components, precision)


def _read_scan(segment: bytes, header: JpegLsHeader | None) -> int:
    """Return how many components a scan has (T.87, C.2.3)."""
    count = segment[0] if segment else 0
    if header is None or not count or len(segment) != 4 + 2 * count:
        raise DamagedImage("a scan's header is damaged")
    near, interleave, transform = segment[1 + 2 * count :]
    if (count > 1) != (interleave in (_LINE, _SAMPLE)) or near > _NEAR_AT_MOST or transform:
        raise DamagedImage("a scan's header is damaged")
    return count
