"""JPEG to pixels, by libjpeg-turbo with its warnings as errors.

Where data is missing, libjpeg warns, fills the hole and returns success. A model would embed such pixels like
any others, so a warning fails the image, unless it is about something known to be harmless.
"""

from __future__ import annotations

import re

import numpy as np
import simplejpeg
from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLosslessSV1, JPEGLSNearLossless

from dicom_io.codecs.encoded_image import DAMAGED_PROFILE, DamagedImage, EncodedImage, check_depth, check_size
from dicom_io.codecs.frame_format import FrameFormat
from dicom_io.codecs.jpeg_markers import (
    SIGNATURE,
    JpegColour,
    JpegHeader,
    read_jpeg_header,
    read_jpeg_icc_profile,
    rewritten,
    with_usual_headers,
)
from dicom_io.geometry import UInt8Array

_SYNTAXES: dict[int, str] = {
    0xC0: JPEGBaseline8Bit,
    0xC1: JPEGExtended12Bit,
    0xC2: JPEGBaseline8Bit,  # progressive lost its syntax; some writers use this one
    0xC3: JPEGLosslessSV1,
    0xF7: JPEGLSNearLossless,
}
"""Transfer syntaxes by a JPEG image's frame header (ITU-T T.81, table B.1)."""

_COLOUR_SPACES = {1: "GRAY", 3: "RGB", 4: "CMYK"}
_STRAY = re.compile(r"extraneous bytes before marker 0xd[0-79]")
_ODD_HEADER = re.compile(r"unknown JFIF revision|Unknown Adobe color transform|Invalid SOS parameters")
_ZEROS_BEFORE_MARKER = re.compile(rb"(?<!\xff)\x00+(?=\xff[\xd0-\xd7\xd9])")


def open_jpeg(data: bytes, max_pixels: int) -> EncodedImage:
    """Read the header of an image file; its own markers decide its colours, as in libjpeg."""
    header = read_jpeg_header(data)
    check_size(header.width, header.height, max_pixels, header.components)
    check_depth(header.precision)
    header.require_decodable()

    def decode(place: UInt8Array | None = None) -> tuple[UInt8Array, bytes | None]:
        return decode_jpeg(data, header, place=place), read_jpeg_icc_profile(header)

    decode_to = decode if header.components == 3 else None
    return EncodedImage(header.width, header.height, header.is_sequential, decode, decode_to)


def decode_jpeg(
    data: bytes, header: JpegHeader, *, transformed: bool | None = None, place: UInt8Array | None = None
) -> UInt8Array:
    """Decode a JPEG image that has passed ``require_decodable``.

    Parameters
    ----------
    transformed:
        Whether three components are YCbCr; ``None`` to follow the markers.
    place:
        Where to decode three components to: contiguous uint8 ``[height, width, 3]``.

    Returns
    -------
    uint8 ``[height, width, 1 | 3 | 4]``: gray, RGB, or CMYK with 255 as full ink; ``place`` if that is given.

    Raises
    ------
    DamagedImage
        On anything libjpeg warns about.
    """
    space = _COLOUR_SPACES.get(header.components)
    if space is None:
        raise DamagedImage(f"it has {header.components} components")
    as_rgb = transformed is False and header.components == 3
    # libjpeg also warns about a damaged profile, which leaves the picture intact: decode without it.
    without_profile = read_jpeg_icc_profile(header) == DAMAGED_PROFILE
    if as_rgb or without_profile:
        data = rewritten(data, as_rgb=as_rgb, without_profile=without_profile)
    # Always to memory of the size that was checked: libjpeg may read another one from a forged header.
    size = header.height, header.width, header.components
    pixels = np.empty(size, np.uint8) if place is None else place
    try:
        _decode_strictly(data, space, pixels)
    except ValueError as error:
        mended = _mended(data, header, str(error))
        if mended is None:
            raise DamagedImage(_reason(error)) from error
        try:
            _decode_strictly(mended, space, pixels)
        except ValueError as second:
            raise DamagedImage(_reason(second)) from second
    return 255 - pixels if space == "CMYK" else pixels  # CMYK in JPEG is Adobe's, which is stored inverted


def decode_jpeg_frame(data: bytes, form: FrameFormat, header: JpegHeader | None = None) -> UInt8Array:
    """Decode a frame to uint8 ``[height, width, samples]``; its header may have been read before."""
    header = header or read_jpeg_header(data)
    form.require_size(header.width, header.height)
    header.require_decodable()
    form.require_samples(header.components)
    return decode_jpeg(data, header, transformed=is_transformed(header, form.photometric))


def jpeg_syntax(data: bytes) -> str | None:
    """Return the transfer syntax of a JPEG image, JPEG-LS included, by its frame header."""
    if not data.startswith(SIGNATURE):
        return None
    try:
        return _SYNTAXES.get(read_jpeg_header(data).process)
    except DamagedImage:
        return None


def is_transformed(header: JpegHeader, photometric: str) -> bool:
    """Return whether a frame's three components are YCbCr: by its markers, its sampling, then its label.

    RGB is never subsampled, so a subsampled frame that is labelled RGB has a wrong label.
    """
    if header.colour is not JpegColour.UNSAID:
        return header.colour is JpegColour.YCBCR
    return header.is_subsampled or photometric != "RGB"


def _mended(data: bytes, header: JpegHeader, warning: str) -> bytes | None:
    """Return the image with the cause of a warning removed, where it may be harmless; else ``None``.

    Some scanners pad with zeros before restart markers, some writers before the end. If the zeros were data
    after all, the second attempt misses them and fails, so nothing but padding is ever dropped.
    """
    if _STRAY.search(warning):
        return _ZEROS_BEFORE_MARKER.sub(b"", data)
    if _ODD_HEADER.search(warning) and header.is_sequential:
        return with_usual_headers(data, header)
    return None


def _decode_strictly(data: bytes, space: str, place: UInt8Array) -> None:
    """Fill a place, which holds the pixels of somebody else's image until then, or raise ValueError."""
    pixels = simplejpeg.decode_jpeg(data, space, fastdct=False, fastupsample=False, strict=True, buffer=place)
    if pixels.shape != place.shape:  # a smaller image would leave the rest of the place as it was
        raise ValueError("its markers give two sizes")


def _reason(error: ValueError) -> str:
    text = str(error)
    if "subsampling level" in text:
        return "its chroma subsampling is not supported; store it as 4:4:4, 4:2:2 or 4:2:0"
    return f"it is damaged or cut off ({text.rstrip('.')})"
