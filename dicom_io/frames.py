"""From a stored frame to 8-bit gray or RGB pixels, per transfer syntax (PS3.5, annex A).

Colours follow the codestream where it says how they are coded, else the photometric interpretation
(PS3.3, C.7.6.3.1.2).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import imagecodecs
import numpy as np
import numpy.typing as npt
import simplejpeg

from dicom_io.jpeg_markers import JpegColour, read_jpeg_header
from dicom_io.jxl_header import read_jxl_header
from dicom_io.patches import UInt8Array

IMPLICIT_LE = "1.2.840.10008.1.2"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
DEFLATED_LE = "1.2.840.10008.1.2.1.99"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
RLE = "1.2.840.10008.1.2.5"

NATIVE = frozenset({IMPLICIT_LE, EXPLICIT_LE, DEFLATED_LE})
_SUBSAMPLED = "YBR_FULL_422"
_SOF55 = b"\xff\xf7"  # JPEG-LS (ITU-T T.87, C.1.1)


class FrameError(ValueError):
    """A frame that cannot be decoded; the text says why."""


@dataclass(frozen=True, slots=True)
class FrameFormat:
    """How the frames of an image are described by its metadata.

    Attributes
    ----------
    samples:
        1 or 3.
    planar:
        0 for RGBRGB…, 1 for a plane of each colour (native frames).
    """

    width: int
    height: int
    samples: int
    photometric: str
    planar: int

    @property
    def decoded_bytes(self) -> int:
        """Bytes of a frame once decoded."""
        return self.width * self.height * self.samples

    @property
    def native_bytes(self) -> int:
        """Bytes of an uncompressed frame."""
        samples = 2 if self.photometric == _SUBSAMPLED else self.samples
        return self.width * self.height * samples


Decoder = Callable[[bytes, FrameFormat], UInt8Array]
_SizeReader = Callable[[bytes], tuple[int, int]]


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
        When it is cut off, damaged, or not of the size that the metadata says.
    """
    try:
        pixels = np.asarray(DECODERS[syntax](data, form))
    except FrameError:
        raise
    except Exception as error:  # decoders raise anything at hostile bytes
        raise FrameError(f"it does not decode as {syntax}") from error
    if pixels.dtype != np.uint8:
        raise FrameError(f"its samples are {pixels.dtype}, not 8 bits")
    if pixels.ndim == 2:
        pixels = pixels[:, :, np.newaxis]
    if pixels.shape != (form.height, form.width, form.samples):
        height, width, *samples = pixels.shape
        raise FrameError(
            f"it is {width}x{height} with {samples} samples, the metadata say "
            f"{form.width}x{form.height} with {form.samples}"
        )
    return 255 - pixels if form.photometric == "MONOCHROME1" else pixels


def decodes_in_process(data: bytes, syntax: str) -> bool:
    """Say whether a frame is safe to decode in this process."""
    return syntax in NATIVE or syntax == JPEG_BASELINE


def ybr_full_to_rgb(pixels: UInt8Array) -> UInt8Array:
    """Convert full-range YCbCr to RGB (PS3.3, C.7.6.3.1.2), uint8 ``[h, w, 3]``.

    The constants are CCIR 601's; JPEG's own conversion is the same.
    """
    swapped = np.ascontiguousarray(pixels[:, :, (0, 2, 1)])  # OpenCV wants Y, Cr, Cb
    return np.asarray(cv2.cvtColor(swapped, cv2.COLOR_YCrCb2RGB), np.uint8)


def _is_ybr(form: FrameFormat) -> bool:
    return form.photometric in ("YBR_FULL", _SUBSAMPLED)


def _native(data: bytes, form: FrameFormat) -> UInt8Array:
    size = form.native_bytes
    if not is_native_size(data, form):
        raise FrameError(f"it has {len(data)} bytes, {size} are needed")
    flat = np.frombuffer(data, np.uint8, size)
    if form.photometric == _SUBSAMPLED:
        return ybr_full_to_rgb(_from_422(flat, form))
    if form.samples == 3 and form.planar == 1:
        pixels = flat.reshape(3, form.height, form.width).transpose(1, 2, 0)
    else:
        pixels = flat.reshape(form.height, form.width, form.samples)
    return ybr_full_to_rgb(pixels) if _is_ybr(form) else pixels


def _from_422(flat: UInt8Array, form: FrameFormat) -> UInt8Array:
    """Expand Y1 Y2 Cb Cr for each pair of pixels (PS3.3, C.7.6.3.1.2)."""
    pairs = flat.reshape(form.height, form.width // 2, 4)
    out = np.empty((form.height, form.width // 2, 2, 3), np.uint8)
    out[..., 0] = pairs[..., :2]
    out[..., 1:] = pairs[:, :, np.newaxis, 2:]
    return out.reshape(form.height, form.width, 3)


def _jpeg(data: bytes, form: FrameFormat) -> UInt8Array:
    try:
        header = read_jpeg_header(data)
    except ValueError as error:
        raise FrameError(str(error)) from error
    if (header.width, header.height) != (form.width, form.height) or header.precision != 8:
        raise FrameError(f"it is {header.width}x{header.height} of {header.precision} bits")
    if header.components == 1:
        return np.asarray(simplejpeg.decode_jpeg(data, "GRAY", strict=True))
    raw = header.colour is JpegColour.RGB or (
        header.colour is JpegColour.UNSAID and form.photometric == "RGB"
    )
    if raw:
        return np.asarray(imagecodecs.jpeg8_decode(data, colorspace="RGB", outcolorspace="RGB"))
    return np.asarray(simplejpeg.decode_jpeg(data, "RGB", fastdct=False, fastupsample=False, strict=True))


def _converted(decode: Callable[[bytes], npt.NDArray[np.generic]], size: _SizeReader) -> Decoder:
    """Return a decoder whose codestream undoes its own colour transform, but not YBR_FULL."""

    def decoder(data: bytes, form: FrameFormat) -> UInt8Array:
        _require_size(size(data), form)
        pixels: UInt8Array = np.asarray(decode(data))
        return ybr_full_to_rgb(pixels) if _is_ybr(form) and pixels.dtype == np.uint8 else pixels

    return decoder


def _require_size(size: tuple[int, int], form: FrameFormat) -> None:
    """Refuse a codestream of another size before a decoder allocates what it claims."""
    if size != (form.width, form.height):
        raise FrameError(f"it is {size[0]}x{size[1]}, the metadata say {form.width}x{form.height}")


def _jpeg2000_size(data: bytes) -> tuple[int, int]:
    start = data.find(b"\xff\x4f\xff\x51")  # SOC and SIZ (ITU-T T.800, A.5.1)
    right, bottom, left, top = struct.unpack_from(">4I", data, start + 8)
    return right - left, bottom - top


def _jpeg_ls_size(data: bytes) -> tuple[int, int]:
    height, width = struct.unpack_from(">2H", data, data.index(_SOF55) + 5)
    return width, height


def _rle(data: bytes, form: FrameFormat) -> UInt8Array:
    """Decode RLE Lossless: a segment for each sample (PS3.5, annex G)."""
    size = form.width * form.height
    flat = np.frombuffer(imagecodecs.dicomrle_decode(data, np.dtype(np.uint8)), np.uint8)
    plane, rest = divmod(len(flat), form.samples)
    if rest or not size <= plane <= size + 1:  # a segment may be padded to an even length
        raise FrameError(f"it has {len(flat)} bytes, {size * form.samples} are needed")
    planes = flat.reshape(form.samples, plane)[:, :size]
    pixels = planes.reshape(form.samples, form.height, form.width).transpose(1, 2, 0)
    return ybr_full_to_rgb(pixels) if _is_ybr(form) else pixels


def _jpeg_xl(data: bytes, form: FrameFormat) -> UInt8Array:
    header = read_jxl_header(data)
    _require_size((header.width, header.height), form)
    return np.asarray(imagecodecs.jpegxl_decode(data, numthreads=1))


_J2K = _converted(lambda data: imagecodecs.jpeg2k_decode(data, numthreads=1), _jpeg2000_size)
_HTJ2K = _converted(imagecodecs.htj2k_decode, _jpeg2000_size)
_JPEG_LS = _converted(imagecodecs.jpegls_decode, _jpeg_ls_size)

DECODERS: dict[str, Decoder] = {
    **dict.fromkeys(NATIVE, _native),
    JPEG_BASELINE: _jpeg,
    "1.2.840.10008.1.2.4.51": _jpeg,
    "1.2.840.10008.1.2.4.80": _JPEG_LS,
    "1.2.840.10008.1.2.4.81": _JPEG_LS,
    "1.2.840.10008.1.2.4.90": _J2K,
    "1.2.840.10008.1.2.4.91": _J2K,
    "1.2.840.10008.1.2.4.110": _jpeg_xl,
    "1.2.840.10008.1.2.4.111": _jpeg_xl,
    "1.2.840.10008.1.2.4.112": _jpeg_xl,
    "1.2.840.10008.1.2.4.201": _HTJ2K,
    "1.2.840.10008.1.2.4.202": _HTJ2K,
    "1.2.840.10008.1.2.4.203": _HTJ2K,
    RLE: _rle,
}
"""Decoders by transfer syntax UID."""


_CAP = b"\xff\x50"  # capabilities beyond JPEG 2000, part 1: HTJ2K (ITU-T T.814, A.3)

_MAGIC = (
    (b"\xff\xd8", JPEG_BASELINE),
    (b"\xff\x4f\xff\x51", "1.2.840.10008.1.2.4.91"),
    (b"\xff\x0a", "1.2.840.10008.1.2.4.112"),
    (b"\x00\x00\x00\x0cJXL ", "1.2.840.10008.1.2.4.112"),
)


def is_native_size(data: bytes, form: FrameFormat) -> bool:
    """Say whether a frame has the size of an uncompressed one, or that made even."""
    return form.native_bytes <= len(data) <= form.native_bytes + 1


def recognised_syntax(data: bytes, form: FrameFormat) -> str | None:
    """Return the transfer syntax that a frame's first bytes show, where no one has told it.

    A frame of exactly the native size is taken as native.
    """
    if is_native_size(data, form):
        return EXPLICIT_LE
    if data.startswith(b"\xff\xd8") and _SOF55 in data[:512]:
        return "1.2.840.10008.1.2.4.81"
    if data.startswith(b"\xff\x4f\xff\x51") and _CAP in data[:512]:
        return "1.2.840.10008.1.2.4.203"
    return next((syntax for magic, syntax in _MAGIC if data.startswith(magic)), None)
