"""The colour space that a JPEG XL header names, as an ICC profile (ISO/IEC 18181-1, annex E)."""

from __future__ import annotations

from dataclasses import dataclass

from dicom_io.codecs.encoded_image import DAMAGED_PROFILE
from dicom_io.codecs.jpeg_xl_bits import Bits
from dicom_io.colour.profiles import (
    SRGB_CURVE,
    Chromaticity,
    IccTarget,
    RgbSpace,
    target_profile,
    write_matrix_profile,
)

_GRAY, _XYB = 1, 2
_WHITES: dict[int, Chromaticity] = {1: (0.3127, 0.3290), 10: (1 / 3, 1 / 3), 11: (0.314, 0.351)}
_PRIMARIES: dict[int, tuple[Chromaticity, Chromaticity, Chromaticity]] = {
    1: ((0.639998686, 0.330010138), (0.300003784, 0.600003357), (0.150002046, 0.059997204)),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
_CUSTOM = 2


@dataclass(frozen=True, slots=True)
class JxlColour:
    """What the samples mean.

    Attributes
    ----------
    gray:
        Whether there is one colour channel.
    embedded:
        Whether an ICC profile is embedded; it is compressed in a way that nothing here decompresses.
    white, primaries:
        Chromaticities; ``None`` for those not supported here.
    curve:
        Function type and parameters of an ICC parametric curve; ``None`` for those not supported here.
    """

    gray: bool
    embedded: bool
    white: Chromaticity | None
    primaries: tuple[Chromaticity, Chromaticity, Chromaticity] | None
    curve: tuple[int, tuple[float, ...]] | None

    def profile(self) -> bytes:
        """Return an RGB profile of the colour space, ``DAMAGED_PROFILE`` where it is unknown."""
        if self.embedded or self.white is None or self.primaries is None or self.curve is None:
            return DAMAGED_PROFILE
        if self in (SRGB, SRGB_GRAY):
            return target_profile(IccTarget.SRGB)
        return write_matrix_profile(RgbSpace("JPEG XL", *self.primaries, self.white, *self.curve))


SRGB = JxlColour(False, False, _WHITES[1], _PRIMARIES[1], (3, SRGB_CURVE))
SRGB_GRAY = JxlColour(True, False, _WHITES[1], _PRIMARIES[1], (3, SRGB_CURVE))


def read_colour(bits: Bits) -> JxlColour:
    """Read a ColourEncoding bundle (E.2)."""
    if bits.flag():
        return SRGB
    embedded, space = bits.flag(), bits.enum()
    if embedded:
        return JxlColour(space == _GRAY, True, None, None, None)
    white = primaries = None
    if space != _XYB:
        number = bits.enum()
        white = _chromaticity(bits) if number == _CUSTOM else _WHITES.get(number)
        if space != _GRAY:
            number = bits.enum()
            own = number == _CUSTOM
            primaries = _three(bits) if own else _PRIMARIES.get(number)
        else:
            primaries = _PRIMARIES[1]  # the gray axis is the same in all of them
    curve = _curve(bits)
    bits.enum()  # rendering intent
    return JxlColour(space == _GRAY, False, white, primaries, curve)


def _three(bits: Bits) -> tuple[Chromaticity, Chromaticity, Chromaticity]:
    return _chromaticity(bits), _chromaticity(bits), _chromaticity(bits)


def _chromaticity(bits: Bits) -> Chromaticity:
    return _millionths(bits), _millionths(bits)


def _millionths(bits: Bits) -> float:
    packed = bits.u32((0, 19), (524_288, 19), (1_048_576, 20), (2_097_152, 21))
    return (packed // 2 if packed % 2 == 0 else -(packed // 2) - 1) / 1e6


def _curve(bits: Bits) -> tuple[int, tuple[float, ...]] | None:
    if bits.flag():
        gamma = bits.take(24) / 1e7
        return (0, (1 / gamma,)) if gamma > 0.01 else None
    match bits.enum():
        case 13:  # sRGB
            return 3, SRGB_CURVE
        case 8:  # linear
            return 0, (1.0,)
    return None
