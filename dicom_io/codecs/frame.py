"""From a stored frame to 8-bit gray or RGB pixels, per transfer syntax (PS3.5, annex A).

A codec's file has ``decode_…_frame``, and ``…_syntax`` where its frames can be recognised by their first
bytes; a new transfer syntax is a row of ``DECODERS`` here. Colours follow the codestream where it states how
they are coded, else the photometric interpretation (PS3.3, C.7.6.3.1.2): converters often leave a label
behind that no longer fits the bytes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from dicom_io.codecs.encoded_image import DamagedImage
from dicom_io.codecs.frame_format import NATIVE, FrameError, FrameFormat, is_native_size
from dicom_io.codecs.jp2 import decode_jpeg2000_frame, jpeg2000_syntax
from dicom_io.codecs.jpeg import decode_jpeg_frame, jpeg_syntax
from dicom_io.codecs.jpeg_ls import decode_jpeg_ls_frame
from dicom_io.codecs.jpeg_markers import read_jpeg_header
from dicom_io.codecs.jpeg_xl import SYNTAXES as JPEG_XL_SYNTAXES
from dicom_io.codecs.jpeg_xl import decode_jxl_frame, jxl_syntax
from dicom_io.codecs.native import decode_native_frame
from dicom_io.codecs.rle import decode_rle_frame
from dicom_io.geometry import UInt8Array

Decoder = Callable[[bytes, FrameFormat], UInt8Array]
"""Decodes a frame to uint8 ``[height, width, samples]``, where gray may lack the last axis.

Raises DamagedImage when it is damaged or incomplete, of a kind that is not decoded, or not what the metadata
says.
"""

DECODERS: dict[str, Decoder] = {
    **dict.fromkeys(NATIVE, decode_native_frame),
    JPEGBaseline8Bit: decode_jpeg_frame,
    JPEGExtended12Bit: decode_jpeg_frame,
    JPEGLSLossless: decode_jpeg_ls_frame,
    JPEGLSNearLossless: decode_jpeg_ls_frame,
    JPEG2000Lossless: decode_jpeg2000_frame,
    JPEG2000: decode_jpeg2000_frame,
    **dict.fromkeys(JPEG_XL_SYNTAXES, decode_jxl_frame),
    HTJ2KLossless: decode_jpeg2000_frame,
    HTJ2KLosslessRPCL: decode_jpeg2000_frame,
    HTJ2K: decode_jpeg2000_frame,
    RLELossless: decode_rle_frame,
}
"""Decoders by transfer syntax UID."""

_RECOGNISERS: tuple[Callable[[bytes], str | None], ...] = (jpeg_syntax, jpeg2000_syntax, jxl_syntax)


def decode_frame(data: bytes, syntax: str, form: FrameFormat) -> UInt8Array:
    """Decode one frame.

    Parameters
    ----------
    data:
        The frame as the store holds it.
    syntax:
        UID of its transfer syntax; one of ``DECODERS``.

    Returns
    -------
    uint8 ``[height, width, 1 | 3]``: gray with white as 255, or RGB.

    Raises
    ------
    FrameError
        When it is cut off, damaged, or not of the size in the metadata.
    """
    return _checked(lambda: DECODERS[syntax](data, form), syntax, form)


def decode_frame_here(data: bytes, syntax: str, form: FrameFormat) -> UInt8Array | None:
    """Decode one frame as ``decode_frame`` does, if that ``decodes_in_process``; else return ``None``.

    A JPEG image's header is read once for both: it takes a thirtieth of the time of decoding a tile.
    """
    if DECODERS.get(syntax) is not decode_jpeg_frame:
        return decode_frame(data, syntax, form) if decodes_in_process(data, syntax) else None
    try:
        header = read_jpeg_header(data)
    except DamagedImage as error:
        raise FrameError(str(error)) from error
    if not header.is_sequential:
        return None
    return _checked(lambda: decode_jpeg_frame(data, form, header), syntax, form)


def _checked(decode: Callable[[], UInt8Array], syntax: str, form: FrameFormat) -> UInt8Array:
    """Return what a decoder gives, held to the metadata; see ``decode_frame``."""
    try:
        pixels = np.asarray(decode())
    except DamagedImage as error:
        raise FrameError(str(error)) from error
    except Exception as error:  # decoders raise anything at hostile bytes
        raise FrameError(f"it does not decode as {syntax}") from error
    if pixels.dtype != np.uint8:
        raise FrameError(f"its samples are {pixels.dtype}, not 8 bits")
    if pixels.ndim == 2:
        pixels = pixels[:, :, np.newaxis]
    if pixels.shape != (form.height, form.width, form.samples):
        height, width, *samples = pixels.shape
        raise FrameError(
            f"it is {width}x{height} with {samples} samples, but the metadata says "
            f"{form.width}x{form.height} with {form.samples}"
        )
    return 255 - pixels if form.photometric == "MONOCHROME1" else pixels


def decodes_in_process(data: bytes, syntax: str) -> bool:
    """Return whether ``decode_frame`` is safe and bounded enough for a process that also serves others.

    It is for uncompressed frames, and for Huffman-coded JPEG in a single pass. Bytes that are not JPEG at
    all are refused before any decoder sees them, so they are safe, too.
    """
    if syntax in NATIVE:
        return True
    if DECODERS.get(syntax) is not decode_jpeg_frame:
        return False
    try:
        return read_jpeg_header(data).is_sequential
    except DamagedImage:
        return True


def recognised_syntax(data: bytes, form: FrameFormat) -> str | None:
    """Return the transfer syntax that a frame's first bytes show, for stores that name none.

    A frame of exactly the native size is taken as native. One that starts like JPEG, but is of a kind
    without a transfer syntax, gives ``None``.
    """
    if is_native_size(data, form):
        return ExplicitVRLittleEndian
    return next((syntax for recognise in _RECOGNISERS if (syntax := recognise(data))), None)
