"""Resizing: whole images, and parts of them exactly as if the whole were resized and then cropped.

An axis that shrinks is area-averaged, an axis that grows is interpolated with bicubic splines: OpenCV's
INTER_AREA and INTER_CUBIC, which Path Foundation's clients resize with.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
import numpy.typing as npt

from dicom_io.geometry import Sampling, UInt8Array

_A = -0.75
"""Sharpness of the cubic kernel (OpenCV's INTER_CUBIC)."""


def resize(pixels: UInt8Array, width: int, height: int) -> UInt8Array:
    """Resize an image to ``width`` x ``height`` pixels.

    Axes that shrink come first, then those that grow.

    Parameters
    ----------
    pixels:
        uint8 ``[rows, columns, channels]``, any number of channels.

    Returns
    -------
    uint8 ``[height, width, channels]``.
    """
    rows, columns, channels = pixels.shape
    if (rows, columns) == (height, width):
        return pixels
    out = pixels
    smaller = (min(width, columns), min(height, rows))
    if smaller != (columns, rows):
        out = np.asarray(cv2.resize(out, smaller, interpolation=cv2.INTER_AREA), np.uint8)
    if smaller != (width, height):
        out = np.asarray(cv2.resize(out, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
    return out.reshape(height, width, channels)


class Resampling(StrEnum):
    """How an image is brought to another size."""

    NONE = "none"
    AREA = "area"
    BICUBIC = "bicubic"
    MIXED = "area and bicubic"

    @staticmethod
    def of(sampling: Sampling) -> Resampling:
        """Return how: by area where an axis shrinks, by bicubic splines where one grows."""
        shrinks = sampling.width < sampling.stored_width or sampling.height < sampling.stored_height
        grows = sampling.width > sampling.stored_width or sampling.height > sampling.stored_height
        if shrinks and grows:
            return Resampling.MIXED
        return Resampling.AREA if shrinks else Resampling.BICUBIC if grows else Resampling.NONE


@dataclass(frozen=True, slots=True)
class Taps:
    """How each output pixel of a run is made along one axis.

    Attributes
    ----------
    index, weight:
        ``[outputs, taps]``: source pixels, clamped to the image, and their weights, which sum to 1.
    """

    index: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float32]

    @property
    def first(self) -> int:
        """First source pixel used."""
        return int(self.index.min())

    @property
    def last(self) -> int:
        """Last source pixel used."""
        return int(self.index.max())


def taps(start: int, count: int, resized: int, source: int) -> Taps:
    """Return the taps of ``count`` output pixels from ``start`` on.

    Parameters
    ----------
    resized, source:
        Length of the whole axis after and before resizing: bicubic to enlarge, area to shrink.
    """
    if resized < source:
        return _area_taps(start, count, source / resized, source)
    position = (np.arange(start, start + count) + 0.5) * (source / resized) - 0.5
    base = np.floor(position).astype(np.int64)
    f = position - base
    before = ((_A * (f + 1) - 5 * _A) * (f + 1) + 8 * _A) * (f + 1) - 4 * _A
    here = ((_A + 2) * f - (_A + 3)) * f**2 + 1
    after = ((_A + 2) * (1 - f) - (_A + 3)) * (1 - f) ** 2 + 1
    weight = np.stack([before, here, after, 1 - before - here - after], axis=1)
    index = base[:, np.newaxis] + np.arange(-1, 3)
    return Taps(np.clip(index, 0, source - 1), weight.astype(np.float32))


def _area_taps(start: int, count: int, scale: float, source: int) -> Taps:
    low = np.arange(start, start + count) * scale
    index = np.floor(low).astype(np.int64)[:, np.newaxis] + np.arange(int(np.ceil(scale)) + 1)
    overlap = np.minimum(index + 1, (low + scale)[:, np.newaxis]) - np.maximum(index, low[:, np.newaxis])
    weight = np.clip(overlap, 0, None) / scale
    return Taps(np.clip(index, 0, source - 1), weight.astype(np.float32))


def resample(pixels: UInt8Array, rows: Taps, columns: Taps) -> UInt8Array:
    """Apply taps to the part of an image that they use.

    Parameters
    ----------
    pixels:
        uint8 ``[rows.last - rows.first + 1, columns.last - columns.first + 1, channels]``.

    Returns
    -------
    uint8 ``[outputs of rows, outputs of columns, channels]``.
    """
    half = _apply(pixels.astype(np.float32), rows)
    full = _apply(half.transpose(1, 0, 2), columns).transpose(1, 0, 2)
    return np.ascontiguousarray(np.clip(np.rint(full), 0, 255), np.uint8)


def _apply(values: npt.NDArray[np.float32], axis: Taps) -> npt.NDArray[np.float32]:
    index = axis.index - axis.first
    out = np.zeros((len(index), *values.shape[1:]), np.float32)
    for tap in range(index.shape[1]):
        out += values[index[:, tap]] * axis.weight[:, tap, np.newaxis, np.newaxis]
    return out
