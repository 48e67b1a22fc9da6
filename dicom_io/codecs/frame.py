"""From a stored frame to 8-bit gray or RGB pixels, per transfer syntax (PS3.5, annex A).

Colours follow the codestream where it states how they are coded, else the photometric interpretation
(PS3.3, C.7.6.3.1.2): converters often leave a label behind that no longer fits the bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dicom_io.codecs.encoded_image import DamagedImage
from dicom_io.codecs.jp2 import SIGNATURE as JP2_SIGNATURE
from dicom_io.codecs.jp2 import read_jp2, require_plain
from dicom_io.codecs.jpeg import decode_jpeg, is_transformed
from dicom_io.codecs.jpeg2000 import START as JPEG_2000_START
from dicom_io.codecs.jpeg2000 import decode_codestream, is_high_throughput, read_codestream, require_whole
from dicom_io.codecs.jpeg_ls import decode_jpeg_ls, read_jpeg_ls_header
from dicom_io.codecs.jpeg_markers import read_jpeg_header
from dicom_io.codecs.jpeg_xl import checked_jxl_header, decode_jxl
from dicom_io.codecs.jpeg_xl_header import is_jxl
from dicom_io.codecs.rle import decode_rle
from dicom_io.codecs.ybr import ybr_full_to_rgb
from dicom_io.geometry import UInt8Array

IMPLICIT_LE = "1.2.840.10008.1.2"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
DEFLATED_LE = "1.2.840.10008.1.2.1.99"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
RLE = "1.2.840.10008.1.2.5"
_JPEG_LS = "1.2.840.10008.1.2.4.81"
_JPEG_2000 = "1.2.840.10008.1.2.4.91"
_JPEG_XL = "1.2.840.10008.1.2.4.112"
_HTJ2K = "1.2.840.10008.1.2.4.203"

_JPEG_PROCESSES = {
    0xC0: JPEG_BASELINE,
    0xC1: "1.2.840.10008.1.2.4.51",
    0xC2: JPEG_BASELINE,  # progressive lost its syntax; some writers use this one
    0xC3: "1.2.840.10008.1.2.4.70",
    0xF7: _JPEG_LS,
}
"""Transfer syntaxes by a JPEG image's frame header (ITU-T T.81, table B.1)."""

NATIVE = frozenset({IMPLICIT_LE, EXPLICIT_LE, DEFLATED_LE})
_SUBSAMPLED = "YBR_FULL_422"
_LUMA_AND_CHROMA = frozenset({"YBR_FULL", _SUBSAMPLED, "YBR_ICT", "YBR_RCT"})


class FrameError(ValueError):
    """A frame that cannot be decoded; the text is the reason, as a clause."""


@dataclass(frozen=True, slots=True)
class FrameFormat:
    """How the frames of an image are described by its metadata.

    Attributes
    ----------
    samples:
        1 or 3.
    planar:
        0 for RGBRGB…, 1 for one plane per colour (native frames).
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
    try:
        pixels = np.asarray(DECODERS[syntax](data, form))
    except FrameError:
        raise
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
    header = read_jpeg_header(data)
    _require_size((header.width, header.height), form)
    header.require_decodable()
    if header.components != form.samples:
        raise FrameError(f"it has {header.components} samples, but the metadata says {form.samples}")
    return decode_jpeg(data, header, transformed=is_transformed(header, form.photometric))


def _require_size(size: tuple[int, int], form: FrameFormat) -> None:
    """Refuse a codestream of another size before a decoder allocates what it claims."""
    if size != (form.width, form.height):
        raise FrameError(f"it is {size[0]}x{size[1]}, but the metadata says {form.width}x{form.height}")


def _jpeg2000(data: bytes, form: FrameFormat) -> UInt8Array:
    """Decode JPEG 2000 or HTJ2K: the codestream's own colour transform outweighs the label."""
    codestream = data
    if data.startswith(JP2_SIGNATURE):
        file = read_jp2(data)
        require_plain(file)
        codestream = file.codestream
    stream = read_codestream(codestream)
    _require_size((stream.width, stream.height), form)
    if stream.bits != 8 or stream.signed or len(stream.components) != form.samples:
        raise FrameError(
            f"it has {len(stream.components)} {'signed ' if stream.signed else ''}samples of {stream.bits} "
            f"bits, but the metadata says {form.samples} of 8"
        )
    require_whole(codestream, stream)
    pixels = decode_codestream(codestream, stream)
    is_rgb = stream.transformed or stream.is_subsampled or form.photometric not in _LUMA_AND_CHROMA
    return pixels if is_rgb or form.samples == 1 else ybr_full_to_rgb(pixels)


def _jpeg_ls(data: bytes, form: FrameFormat) -> UInt8Array:
    header = read_jpeg_ls_header(data)
    _require_size((header.width, header.height), form)
    if header.precision != 8 or header.components != form.samples:
        raise FrameError(
            f"it has {header.components} samples of {header.precision} bits, but the metadata says "
            f"{form.samples} of 8"
        )
    pixels = decode_jpeg_ls(data)
    return ybr_full_to_rgb(pixels) if _is_ybr(form) else pixels


def _rle(data: bytes, form: FrameFormat) -> UInt8Array:
    pixels = decode_rle(data, form.width, form.height, form.samples)
    return ybr_full_to_rgb(pixels) if _is_ybr(form) else pixels


def _jpeg_xl(data: bytes, form: FrameFormat) -> UInt8Array:
    header = checked_jxl_header(data)
    _require_size((header.width, header.height), form)
    if header.bits_per_sample != 8 or header.is_float or header.samples != form.samples:
        raise FrameError(
            f"it has {header.samples} samples of {header.bits_per_sample} bits, but the metadata says "
            f"{form.samples} of 8"
        )
    return decode_jxl(data, header)


DECODERS: dict[str, Decoder] = {
    **dict.fromkeys(NATIVE, _native),
    JPEG_BASELINE: _jpeg,
    "1.2.840.10008.1.2.4.51": _jpeg,
    "1.2.840.10008.1.2.4.80": _jpeg_ls,
    _JPEG_LS: _jpeg_ls,
    "1.2.840.10008.1.2.4.90": _jpeg2000,
    _JPEG_2000: _jpeg2000,
    "1.2.840.10008.1.2.4.110": _jpeg_xl,
    "1.2.840.10008.1.2.4.111": _jpeg_xl,
    _JPEG_XL: _jpeg_xl,
    "1.2.840.10008.1.2.4.201": _jpeg2000,
    "1.2.840.10008.1.2.4.202": _jpeg2000,
    _HTJ2K: _jpeg2000,
    RLE: _rle,
}
"""Decoders by transfer syntax UID."""


def decodes_in_process(data: bytes, syntax: str) -> bool:
    """Return whether ``decode_frame`` is safe and bounded enough for a process that also serves others.

    It is for uncompressed frames, and for Huffman-coded JPEG in a single pass. Bytes that are not JPEG at
    all are refused before any decoder sees them, so they are safe, too.
    """
    if syntax in NATIVE:
        return True
    if DECODERS.get(syntax) is not _jpeg:
        return False
    try:
        return read_jpeg_header(data).is_sequential
    except DamagedImage:
        return True


def is_native_size(data: bytes, form: FrameFormat) -> bool:
    """Return whether a frame has the size of an uncompressed one, or that size padded to be even."""
    return form.native_bytes <= len(data) <= form.native_bytes + 1


def recognised_syntax(data: bytes, form: FrameFormat) -> str | None:
    """Return the transfer syntax that a frame's first bytes show, for stores that name none.

    A frame of exactly the native size is taken as native. One that starts like JPEG, but is of a kind
    without a transfer syntax, gives ``None``.
    """
    if is_native_size(data, form):
        return EXPLICIT_LE
    if data.startswith(b"\xff\xd8"):
        return _recognised_jpeg(data)
    if data.startswith(JPEG_2000_START):
        return _HTJ2K if is_high_throughput(data) else _JPEG_2000
    if data.startswith(JP2_SIGNATURE):
        at = data.find(JPEG_2000_START)
        return _HTJ2K if is_high_throughput(data[max(at, 0) :]) else _JPEG_2000
    return _JPEG_XL if is_jxl(data) else None


def _recognised_jpeg(data: bytes) -> str | None:
    try:
        header = read_jpeg_header(data)
    except DamagedImage:
        return None
    return _JPEG_PROCESSES.get(header.process)
