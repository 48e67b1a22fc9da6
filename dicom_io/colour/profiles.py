"""ICC profiles computed from published primaries: those that patches are transformed to, and JPEG XL's.

AdobeRGB, ROMM RGB and Display P3 are matrix profiles: three primaries, a white point and a tone curve. They
are computed rather than shipped because the writer is needed in any case: the header of a JPEG XL image names
its primaries, white and gamma instead of embedding a profile. The bytes follow ICC.1:2010 (profile version
4.3), sections 7 to 10.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import ImageCms

Chromaticity = tuple[float, float]
Matrix = npt.NDArray[np.float64]

D50_XYZ = (0.9642, 1.0, 0.8249)
"""The profile connection space's white (ICC.1:2010, 7.2.16)."""

_CREATED = struct.pack(">6H", 2020, 1, 1, 0, 0, 0)
"""Date and time that profiles made here bear."""

_D65: Chromaticity = (0.3127, 0.3290)
_D50: Chromaticity = (0.3457, 0.3585)
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


class IccTarget(StrEnum):
    """Colour spaces that a request may ask for."""

    NONE = "NONE"
    SRGB = "SRGB"
    ADOBERGB = "ADOBERGB"
    ROMMRGB = "ROMMRGB"
    DISPLAYP3 = "DISPLAYP3"

    @classmethod
    def named(cls, value: object) -> IccTarget:
        """Return the target with a name, in any case; ``None`` and the empty string are ``NONE``.

        Raises
        ------
        ValueError
            When there is no such target.
        """
        return cls.NONE if value is None or value == "" else cls(str(value).upper())


@dataclass(frozen=True, slots=True)
class RgbSpace:
    """A matrix RGB colour space.

    Attributes
    ----------
    red, green, blue, white:
        CIE 1931 chromaticities (x, y).
    curve_type, curve:
        Parametric tone curve, function type and parameters (ICC.1:2010, 10.16, table 65).
    """

    name: str
    red: Chromaticity
    green: Chromaticity
    blue: Chromaticity
    white: Chromaticity
    curve_type: int
    curve: tuple[float, ...]


SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
"""The tone curve of IEC 61966-2-1, as parameters of function type 3."""

ADOBE_RGB = RgbSpace("Adobe RGB (1998)", (0.64, 0.33), (0.21, 0.71), (0.15, 0.06), _D65, 0, (563 / 256,))
"""Adobe RGB (1998) Color Image Encoding, section 4.3."""

ROMM_RGB = RgbSpace(
    "ROMM RGB",
    (0.7347, 0.2653),
    (0.1596, 0.8404),
    (0.0366, 0.0001),
    _D50,
    3,
    (1.8, 1.0, 0.0, 1 / 16, 16 * 16 ** (1.8 / (1 - 1.8))),
)
"""ISO 22028-2, section 4."""

DISPLAY_P3 = RgbSpace("Display P3", (0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65, 3, SRGB_CURVE)
"""SMPTE EG 432-1 primaries with D65 white and the sRGB tone curve."""

_SPACES = {
    IccTarget.ADOBERGB: ADOBE_RGB,
    IccTarget.ROMMRGB: ROMM_RGB,
    IccTarget.DISPLAYP3: DISPLAY_P3,
}


@cache
def target_profile(target: IccTarget) -> bytes:
    """Return the ICC profile of a target colour space (not of NONE)."""
    if target is IccTarget.SRGB:
        made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        # lcms2 writes the time; the same profile is to have the same digest everywhere (ICC.1:2010, 7.2.8).
        return made[:24] + _CREATED + made[36:]
    return write_matrix_profile(_SPACES[target])


def is_rgb_profile(profile: bytes) -> bool:
    """Return whether bytes are an ICC profile of an RGB space that lcms2 can read."""
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile
    except (OSError, ImageCms.PyCMSError):
        return False
    return opened.xcolor_space.strip() == "RGB"


def without_padding(profile: bytes) -> bytes:
    """Return an ICC profile as long as its header says it is (ICC.1:2010, 7.2.2), where only zeros follow."""
    size = int.from_bytes(profile[:4], "big")
    return profile[:size] if 128 <= size < len(profile) and not any(profile[size:]) else profile


def write_matrix_profile(space: RgbSpace) -> bytes:
    """Return a display-class RGB matrix profile of ``space`` as ICC bytes."""
    adaptation = _adaptation_to_d50(_xyz(space.white))
    columns = (adaptation @ _rgb_to_xyz(space)).T
    curve = _parametric_curve(space.curve_type, space.curve)
    tags = [
        (b"desc", _text(space.name)),
        (b"cprt", _text("Public domain")),
        (b"wtpt", _xyz_type(D50_XYZ)),
        (b"chad", b"sf32" + bytes(4) + _fixed(adaptation.ravel().tolist())),
        *((tag, _xyz_type(c.tolist())) for tag, c in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)),
        *((tag, curve) for tag in (b"rTRC", b"gTRC", b"bTRC")),
    ]
    offset = 128 + 4 + 12 * len(tags)
    table, data = struct.pack(">I", len(tags)), b""
    for signature, element in tags:
        table += struct.pack(">4sII", signature, offset + len(data), len(element))
        data += element + bytes(-len(element) % 4)
    header = struct.pack(
        ">I4sI4s4s4s12s4s28s12s48x",
        offset + len(data),
        bytes(4),
        0x04300000,
        b"mntr",
        b"RGB ",
        b"XYZ ",
        _CREATED,
        b"acsp",
        bytes(28),
        _fixed(D50_XYZ),
    )
    return header + table + data


def _xyz(white: Chromaticity) -> Matrix:
    x, y = white
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _rgb_to_xyz(space: RgbSpace) -> Matrix:
    primaries = np.stack([_xyz(space.red), _xyz(space.green), _xyz(space.blue)], axis=1)
    scale = np.linalg.solve(primaries, _xyz(space.white))
    return np.asarray(primaries * scale)


def _adaptation_to_d50(white: Matrix) -> Matrix:
    ratio = (_BRADFORD @ np.array(D50_XYZ)) / (_BRADFORD @ white)
    return np.asarray(np.linalg.inv(_BRADFORD) @ np.diag(ratio) @ _BRADFORD)


def _fixed(values: Sequence[float]) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def _xyz_type(values: Sequence[float]) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(values)


def _parametric_curve(kind: int, parameters: Sequence[float]) -> bytes:
    return b"para" + bytes(4) + struct.pack(">HH", kind, 0) + _fixed(parameters)


def _text(value: str) -> bytes:
    encoded = value.encode("utf-16-be")
    return b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(encoded), 28) + encoded
