"""The header of a JPEG XL image: size, depth, channels and colours.

Read here rather than by libjxl because:

* libjxl allocates the whole image at once; what that takes must be known, and refused, before it is called,
* the binding returns pixels only: whether they are 8-bit, linear light or CMYK inks is nowhere else to be
  learned, and the wrong guess gives plausible but wrong colours,
* this header is read in the process that serves requests; libjxl runs in a helper that may die of it.

The header is a stream of bit fields without lengths, most of them optional: to reach the colours, everything
before them must be read past exactly. Field names and bit layouts are those of ISO/IEC 18181-1, annexes C
to E, and 18181-2 (boxes).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dicom_io.codecs.boxes import boxes
from dicom_io.codecs.encoded_image import DamagedImage
from dicom_io.codecs.jpeg_xl_bits import Bits
from dicom_io.codecs.jpeg_xl_colour import SRGB, JxlColour, read_colour

CODESTREAM_SIGNATURE = b"\xff\x0a"
CONTAINER_SIGNATURE = b"\x00\x00\x00\x0cJXL \x0d\x0a\x87\x0a"
SIGNATURES = (CODESTREAM_SIGNATURE, CONTAINER_SIGNATURE)

_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_HEADER_AT_MOST = 4096
_MAX_EXTRA = 16
_ALPHA, _SPOT, _BLACK, _FILTER_ARRAY = 0, 2, 4, 5  # types of extra channels (C.9)


@dataclass(frozen=True, slots=True)
class JxlHeader:
    """The image header.

    Attributes
    ----------
    width, height:
        Pixels before any orientation.
    extra_channels:
        Channels other than those of colour.
    xyb:
        Whether the decoder converts from XYB to the colour space of the header.
    preview:
        Whether a second, small image comes first.
    animated:
        Whether it may have several pictures.
    more:
        Whether tone mapping is among the fields after the colours.
    default:
        Whether there are no fields after the size.
    """

    width: int
    height: int
    bits_per_sample: int = 8
    is_float: bool = False
    extra_channels: int = 0
    xyb: bool = True
    preview: bool = False
    colour: JxlColour = SRGB
    animated: bool = False
    more: bool = field(default=False, compare=False)
    default: bool = field(default=True, compare=False)

    @property
    def samples(self) -> int:
        """Samples per pixel that are decoded."""
        return (1 if self.colour.gray else 3) + self.extra_channels

    @property
    def is_linear(self) -> bool:
        """Whether the decoder would give linear light: it cannot convert XYB to an embedded profile."""
        return self.xyb and self.colour.embedded


def is_jxl(data: bytes) -> bool:
    """Return whether the bytes start like a JPEG XL codestream or container."""
    return data.startswith(SIGNATURES)


def read_jxl_header(data: bytes) -> JxlHeader:
    """Read the image header of a codestream or a container.

    Raises
    ------
    DamagedImage
        When the bytes end before the header does, or are not JPEG XL.
    """
    start = _codestream(data)
    if not start.startswith(CODESTREAM_SIGNATURE):
        raise DamagedImage("the JPEG XL container has no codestream")
    return read_image_header(Bits(start[len(CODESTREAM_SIGNATURE) :]))


def read_image_header(bits: Bits) -> JxlHeader:
    """Read the image header after a codestream's signature, up to its colours.

    Raises
    ------
    DamagedImage
    """
    width, height = _size_header(bits)
    if bits.flag():  # ImageMetadata.all_default
        return JxlHeader(width, height)
    more = bits.flag()
    preview, animated = _skip_extra_fields(bits) if more else (False, False)
    depth, is_float = _bit_depth(bits)
    bits.flag()  # modular_16bit_buffers
    extra = bits.u32((0, 0), (1, 0), (2, 4), (1, 12))
    if extra > _MAX_EXTRA:
        raise DamagedImage(f"the JPEG XL image has {extra} extra channels")
    for _ in range(extra):
        depth = max(depth, _extra_channel(bits))
    xyb = bits.flag()
    colour = read_colour(bits)
    return JxlHeader(
        width, height, depth, is_float, extra, xyb, preview, colour, animated, more, default=False
    )


def _codestream(data: bytes) -> bytes:
    """Return the start of the codestream, which a container may hold in parts."""
    if data.startswith(CODESTREAM_SIGNATURE):
        return data[:_HEADER_AT_MOST]
    parts, found, last = b"", 0, False
    for kind, start, end in boxes(data, len(CONTAINER_SIGNATURE)):
        body = data[start : min(end, start + _HEADER_AT_MOST)]
        if kind == b"jxlc":
            if found:
                raise DamagedImage("the JPEG XL container has two codestreams")
            return body
        if kind == b"jxlp":
            number = int.from_bytes(body[:4], "big")
            if number & 0x7FFFFFFF != found or last or len(body) < 4:
                raise DamagedImage("the JPEG XL container's parts are out of order")
            parts, found, last = parts + body[4:], found + 1, number >> 31 == 1
            if len(parts) >= _HEADER_AT_MOST:
                break
    return parts


def _dimension(bits: Bits, div8: bool) -> int:
    if div8:
        return 8 * (1 + bits.take(5))
    return bits.u32((1, 9), (1, 13), (1, 18), (1, 30))


def _size_header(bits: Bits) -> tuple[int, int]:
    div8 = bits.flag()
    height = _dimension(bits, div8)
    ratio = bits.take(3)
    if ratio:
        numerator, denominator = _RATIOS[ratio - 1]
        return height * numerator // denominator, height
    return _dimension(bits, div8), height


def _skip_extra_fields(bits: Bits) -> tuple[bool, bool]:
    """Read past orientation, intrinsic size, preview and animation; return whether the last two are there."""
    bits.take(3)  # orientation
    if bits.flag():
        _size_header(bits)
    preview = bits.flag()
    if preview:
        _skip_preview_header(bits)
    animated = bits.flag()
    if animated:
        _skip_animation_header(bits)
    return preview, animated


def _bit_depth(bits: Bits) -> tuple[int, bool]:
    if bits.flag():
        depth = bits.u32((32, 0), (16, 0), (24, 0), (1, 6))
        bits.take(4)  # exp_bits
        return depth, True
    return bits.u32((8, 0), (10, 0), (12, 0), (1, 6)), False


def _extra_channel(bits: Bits) -> int:
    """Read past an ExtraChannelInfo (C.9) and return its bits; floats count as at least 16."""
    if bits.flag():
        return 8
    kind = bits.enum()
    depth, is_float = _bit_depth(bits)
    bits.u32((0, 0), (3, 0), (4, 0), (1, 3))  # dim_shift
    for _ in range(bits.u32((0, 0), (0, 4), (16, 5), (48, 10))):  # name
        bits.take(8)
    if kind == _BLACK:
        raise DamagedImage("the JPEG XL image is CMYK, which is not supported")
    if kind == _ALPHA:
        bits.flag()
    elif kind == _SPOT:
        bits.take(64)
    elif kind == _FILTER_ARRAY:
        bits.u32((1, 0), (0, 2), (3, 4), (19, 8))
    return max(depth, 16) if is_float else depth


def _skip_preview_header(bits: Bits) -> None:
    choices = ((16, 0), (32, 0), (1, 5), (33, 9)) if bits.flag() else ((1, 6), (65, 8), (321, 10), (1345, 12))
    bits.u32(*choices)
    if not bits.take(3):
        bits.u32(*choices)


def _skip_animation_header(bits: Bits) -> None:
    bits.u32((100, 0), (1000, 0), (1, 10), (1, 30))
    bits.u32((1, 0), (1001, 0), (1, 8), (1, 10))
    bits.u32((0, 0), (0, 3), (0, 16), (0, 32))
    bits.take(1)
