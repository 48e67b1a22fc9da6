"""How vectors are written (``parameters.encoding``), and what of each number is lost.

``base64-float16`` rounds a number to 11 significant bits. ``base64-int8`` writes whole numbers from -127 to
127 and one scale a vector, its largest number's magnitude divided by 127; no number is off by more than half
a scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from model.encoder import Vectors

LARGEST_FLOAT16 = 65504.0
"""The largest number of float16 (IEEE 754, binary16)."""

LARGEST_INT8 = 127
"""-128 is not used, so that a vector and its negative are written alike."""


class Encoding(StrEnum):
    """How vectors are written in the answer (``parameters.encoding``)."""

    JSON = "json"
    BASE64_FLOAT32 = "base64-float32"
    BASE64_FLOAT16 = "base64-float16"
    BASE64_INT8 = "base64-int8"

    @classmethod
    def _missing_(cls, value: object) -> Encoding | None:
        """Take a type of numbers by its plain name, too: all of them are written as base64."""
        return next((one for one in cls if one == f"base64-{value}"), None)


NUMBERS: Mapping[Encoding, np.dtype[np.generic]] = {
    Encoding.JSON: np.dtype("<f4"),
    Encoding.BASE64_FLOAT32: np.dtype("<f4"),
    Encoding.BASE64_FLOAT16: np.dtype("<f2"),
    Encoding.BASE64_INT8: np.dtype("<i1"),
}
"""What a vector's numbers are on the wire, little-endian."""


@dataclass(frozen=True, slots=True)
class Coded:
    """Vectors as they go over the wire.

    Attributes
    ----------
    numbers:
        ``[n, dimension]``, contiguous; of the encoding's type in ``NUMBERS``.
    scales:
        float32 ``[n]``: what the numbers of each vector are multiplied by; of int8 only.
    """

    numbers: npt.NDArray[np.generic]
    scales: npt.NDArray[np.float32] | None = None


def beyond(vectors: Vectors, encoding: Encoding) -> list[int]:
    """Return the rows of vectors with finite numbers that an encoding cannot hold.

    Rounded to float16 they would become infinite.
    """
    if encoding is not Encoding.BASE64_FLOAT16:
        return []
    too_large = (np.abs(vectors) > LARGEST_FLOAT16) & np.isfinite(vectors)
    return [int(row) for row in np.flatnonzero(too_large.any(axis=1))]


def coded(vectors: Vectors, encoding: Encoding) -> Coded:
    """Return vectors as an encoding writes them.

    Parameters
    ----------
    vectors:
        float32 ``[n, dimension]``, of which none is ``beyond`` the encoding. Of a vector that is not finite
        the int8 scale is NaN, so that it does not come back as one that is.
    """
    if encoding is not Encoding.BASE64_INT8:
        return Coded(np.ascontiguousarray(vectors, NUMBERS[encoding]))
    scales = (np.abs(vectors).max(axis=1, initial=0) / LARGEST_INT8).astype(np.float32)
    scales[~np.isfinite(scales)] = np.nan
    divisors = np.where(scales > 0, scales, np.inf).astype(np.float64)
    finite = np.where(np.isfinite(vectors), vectors, 0)
    steps = np.rint(finite / divisors[:, None]).clip(-LARGEST_INT8, LARGEST_INT8)
    return Coded(steps.astype(NUMBERS[encoding]), scales)


def decoded(written: Coded) -> Vectors:
    """Return the float32 ``[n, dimension]`` that an answer's reader gets."""
    vectors = written.numbers.astype(np.float32)
    return vectors if written.scales is None else vectors * written.scales[:, None]
