"""Where a JPEG XL codestream ends: the headers of its frames and their tables of contents (ISO/IEC 18181-1).

Field names, conditions and bit layouts are those of annexes D and F. Every field that could hold words is
required to be empty.
"""

from __future__ import annotations

from dataclasses import dataclass

from dicom_io.codecs.encoded_image import DamagedImage
from dicom_io.codecs.jpeg_xl_bits import Bits
from dicom_io.codecs.jpeg_xl_header import CODESTREAM_SIGNATURE, JxlHeader, read_image_header
from serving.store.deidentify.cleaners.pieces import FrameShape

_HEADER_AT_MOST = 1 << 14
_MOST_FRAMES = 64
_REGULAR, _LF, _REFERENCE, _SKIP_PROGRESSIVE = 0, 1, 2, 3
_USE_LF_FRAME = 32
_FACTORS = ((1, 0), (2, 0), (4, 0), (8, 0))
_SIZES = ((0, 8), (256, 11), (2304, 14), (18688, 30))
_ENTRIES = ((0, 10), (1024, 14), (17408, 22), (4211712, 30))


@dataclass(frozen=True, slots=True)
class _Frame:
    """What a frame's header tells of the sections that follow it."""

    width: int
    height: int
    upsampling: int
    group: int
    passes: int
    is_last: bool

    @property
    def sections(self) -> int:
        """Entries of the table of contents (F.3.1)."""
        width, height = -(-self.width // self.upsampling), -(-self.height // self.upsampling)
        groups = -(-width // self.group) * -(-height // self.group)
        if groups == self.passes == 1:
            return 1
        coarse = 8 * self.group
        return 2 + -(-width // coarse) * -(-height // coarse) + groups * self.passes


def codestream_end(data: bytes, shape: FrameShape) -> int:
    """Return how many bytes a codestream has.

    Raises
    ------
    DamagedImage
        When it is damaged, or has what slides do not have: animation, previews, channels beside colours,
        names, extensions, a profile.
    """
    bits = Bits(data[len(CODESTREAM_SIGNATURE) : _HEADER_AT_MOST])
    header = read_image_header(bits)
    shape.require(header.width, header.height)
    if header.preview or header.animated or header.extra_channels or header.colour.embedded:
        raise DamagedImage(
            "it has a preview, several pictures, more channels than colours, or a profile inside"
        )
    if not header.default:
        _rest_of_header(bits, more=header.more)
    if not bits.flag():
        raise DamagedImage("it has a colour transform of its own")
    at = len(CODESTREAM_SIGNATURE) + -(-bits.taken // 8)
    for _ in range(_MOST_FRAMES):
        bits = Bits(data[at : at + _HEADER_AT_MOST])
        frame = _frame(bits, header)
        at += _sections_end(bits, frame)
        if frame.is_last:
            return at
    raise DamagedImage(f"it has more than {_MOST_FRAMES} frames")


def _rest_of_header(bits: Bits, *, more: bool) -> None:
    if more and not bits.flag():  # ToneMapping
        bits.take(16 + 16 + 1 + 16)
    _require_none(bits.u64(), "extensions")


def _require_none(value: int, what: str) -> None:
    if value:
        raise DamagedImage(f"it has {what}, which could hold anything")


def _sections_end(bits: Bits, frame: _Frame) -> int:
    """Return the bytes from a frame's header to the end of its sections (F.3)."""
    if bits.flag():
        raise DamagedImage("its sections are in an order of their own")
    _pad(bits)
    total = sum(bits.u32(*_ENTRIES) for _ in range(frame.sections))
    return -(-bits.taken // 8) + total


def _pad(bits: Bits) -> None:
    if bits.take(-bits.taken % 8):
        raise DamagedImage("its header is damaged")


def _frame(bits: Bits, header: JxlHeader) -> _Frame:
    """Read a frame's header (F.2)."""
    if bits.flag():  # all_default
        return _Frame(header.width, header.height, 1, 256, 1, is_last=True)
    kind, is_modular, flags = bits.take(2), bits.flag(), bits.u64()
    if not header.xyb and bits.flag() and not flags & _USE_LF_FRAME:  # do_YCbCr
        bits.take(6)  # jpeg_upsampling
    upsampling = 1 if flags & _USE_LF_FRAME else bits.u32(*_FACTORS)
    group = 128 << bits.take(2) if is_modular else 256
    if not is_modular and header.xyb:
        bits.take(6)  # x_qm_scale, b_qm_scale
    passes = _passes(bits) if kind != _REFERENCE else 1
    level = 1 + bits.take(2) if kind == _LF else 0
    size = (header.width, header.height) if kind == _LF else _crop(bits, header, kind)
    is_last = _blending(bits, header, kind, size)
    if kind != _LF and not is_last:
        reference = bits.take(2)
        _before_colours(bits, header, kind, size, reference)
    _require_none(bits.u32((0, 0), (0, 4), (16, 5), (48, 10)), "names")
    _filters(bits, is_modular=is_modular)
    _require_none(bits.u64(), "extensions")
    scale = 8**level
    width, height = (-(-length // scale) for length in size)
    return _Frame(width, height, upsampling, group, passes, is_last)


def _passes(bits: Bits) -> int:
    number = bits.u32((1, 0), (2, 0), (3, 0), (4, 3))
    if number > 1:
        steps = bits.u32((0, 0), (1, 0), (2, 0), (3, 1))
        bits.take(2 * (number - 1))  # shift
        for _ in range(steps):
            bits.u32(*_FACTORS)  # downsample
        for _ in range(steps):
            bits.u32((0, 0), (1, 0), (2, 0), (0, 3))  # last_pass
    return number


def _crop(bits: Bits, header: JxlHeader, kind: int) -> tuple[int, int]:
    if not bits.flag():
        return header.width, header.height
    if kind != _REFERENCE:
        raise DamagedImage("a picture in it is not of its size")
    return bits.u32(*_SIZES), bits.u32(*_SIZES)


def _blending(bits: Bits, header: JxlHeader, kind: int, size: tuple[int, int]) -> bool:
    """Read how a frame is put over others; return whether it is the last one."""
    if kind not in (_REGULAR, _SKIP_PROGRESSIVE):
        return False
    if bits.u32((0, 0), (1, 0), (2, 0), (3, 2)):
        raise DamagedImage("a picture in it is put over another one")
    return bits.flag()


def _before_colours(bits: Bits, header: JxlHeader, kind: int, size: tuple[int, int], reference: int) -> None:
    """Read save_before_ct, of frames that others refer to."""
    if kind == _REFERENCE or reference or size == (header.width, header.height):
        bits.flag()


def _filters(bits: Bits, *, is_modular: bool) -> None:
    """Read the restoration filter (J.1)."""
    if bits.flag():
        return
    if bits.flag() and bits.flag():  # gab, gab_custom
        bits.take(6 * 16)
    iterations = bits.take(2)
    if iterations:
        if not is_modular and bits.flag():  # epf_sharp_custom
            bits.take(8 * 16)
        if bits.flag():  # epf_weight_custom
            bits.take(3 * 16 + 32)
        if bits.flag():  # epf_sigma_custom
            bits.take((0 if is_modular else 16) + 3 * 16)
        if is_modular:
            bits.take(16)  # epf_sigma_for_modular
    _require_none(bits.u64(), "extensions")
