"""JPEG XL to pixels, by libjxl through imagecodecs."""

from __future__ import annotations

import imagecodecs
import numpy as np

from dicom_io.codecs.encoded_image import DamagedImage, EncodedImage, check_depth, check_size
from dicom_io.codecs.jpeg_xl_header import JxlHeader, read_jxl_header
from dicom_io.geometry import UInt8Array


def open_jxl(data: bytes, max_pixels: int) -> EncodedImage:
    """Read the header of a file; of an animation, the first image is decoded.

    Raises
    ------
    DamagedImage, ImageError
        When it cannot be decoded, or is too large.
    """
    header = checked_jxl_header(data)
    check_size(header.width, header.height, max_pixels, header.samples)
    check_depth(header.bits_per_sample, plain=not header.is_float)

    def decode() -> tuple[UInt8Array, bytes | None]:
        pixels = decode_jxl(data, header)
        # The profile is an RGB one even for gray images, so gray is replicated before the transform.
        return np.repeat(pixels, 3 // pixels.shape[2], axis=2), header.colour.profile()

    return EncodedImage(header.width, header.height, False, decode)


def checked_jxl_header(data: bytes) -> JxlHeader:
    """Read the header, and refuse what would decode to wrong colours.

    Raises
    ------
    DamagedImage
        When it is cut off, or its colours could not be known.
    """
    try:
        header = read_jxl_header(data)
    except ValueError as error:
        raise DamagedImage(str(error)) from error
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
    pixels = np.atleast_3d(pixels)[:, :, :colours]
    if pixels.dtype != np.uint8 or pixels.shape != (header.height, header.width, colours):
        raise DamagedImage("it decodes to a different size or depth than its header declares")
    if header.bits_per_sample < 8:
        pixels = _scaled(pixels, header.bits_per_sample)
    return pixels


def _scaled(pixels: UInt8Array, bits: int) -> UInt8Array:
    table = np.rint(np.arange(256) * (255 / (2**bits - 1))).clip(0, 255).astype(np.uint8)
    return np.asarray(table[pixels])
