"""JPEG XL to pixels, by libjxl through imagecodecs."""

from __future__ import annotations

import imagecodecs
import numpy as np

from dicom_io.codecs.encoded_image import DamagedImage, EncodedImage, check_depth, check_size
from dicom_io.codecs.frame_format import FrameFormat
from dicom_io.codecs.jpeg_xl_header import JxlHeader, is_jxl, read_jxl_header
from dicom_io.codecs.samples import require_shape, scaled_to_8_bits
from dicom_io.geometry import UInt8Array

_ANY_JPEG_XL = "1.2.840.10008.1.2.4.112"

SYNTAXES = ("1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.111", _ANY_JPEG_XL)
"""Transfer syntaxes: lossless, recompressed JPEG, any (PS3.5, annex A); pydicom 3.0 has no names for them."""


def open_jxl(data: bytes, max_pixels: int) -> EncodedImage:
    """Read the header of a file; of an animation, the first image is decoded."""
    header = checked_jxl_header(data)
    check_size(header.width, header.height, max_pixels, header.samples)
    check_depth(header.bits_per_sample, plain=not header.is_float)

    def decode() -> tuple[UInt8Array, bytes | None]:
        pixels = decode_jxl(data, header)
        # The profile is an RGB one even for gray images, so gray is replicated before the transform.
        return np.repeat(pixels, 3 // pixels.shape[2], axis=2), header.colour.profile()

    return EncodedImage(header.width, header.height, False, decode)


def decode_jxl_frame(data: bytes, form: FrameFormat) -> UInt8Array:
    """Decode a frame to uint8 ``[height, width, samples]``."""
    header = checked_jxl_header(data)
    form.require_size(header.width, header.height)
    kind = "floating-point" if header.is_float else ""
    form.require_samples(header.samples, header.bits_per_sample, kind)
    return decode_jxl(data, header)


def jxl_syntax(data: bytes) -> str | None:
    """Return the most general transfer syntax of JPEG XL for its codestreams and containers."""
    return _ANY_JPEG_XL if is_jxl(data) else None


def checked_jxl_header(data: bytes) -> JxlHeader:
    """Read the header, and refuse images that would decode to wrong colours.

    Raises
    ------
    DamagedImage
        When it is cut off, or its colours could not be known.
    """
    header = read_jxl_header(data)
    if header.preview:
        raise DamagedImage("it has a preview image; save it without one")
    if header.is_linear:
        raise DamagedImage(
            "it is lossy with an embedded ICC profile, which cannot be read here; use a colour "
            "space that JPEG XL names (sRGB, Display P3), or lossless compression"
        )
    return header


def decode_jxl(data: bytes, header: JxlHeader) -> UInt8Array:
    """Decode to uint8 ``[height, width, 1 | 3]``, in the orientation as stored; other channels are dropped.

    Raises
    ------
    DamagedImage
        When it is damaged or cut off.
    """
    try:
        pixels = np.asarray(imagecodecs.jpegxl_decode(data, index=0, keeporientation=True, numthreads=1))
    except Exception as error:  # the decoder raises anything at hostile bytes
        raise DamagedImage("its JPEG XL data is damaged or cut off") from error
    colours = 1 if header.colour.gray else 3
    if header.colour.gray and pixels.ndim == 3 and pixels.shape[1:] == (header.height, header.width):
        pixels = pixels[0]  # gray with extra channels other than alpha comes as planes
    pixels = require_shape(np.atleast_3d(pixels)[:, :, :colours], header.height, header.width, colours)
    return scaled_to_8_bits(pixels, header.bits_per_sample)
