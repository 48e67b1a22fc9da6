"""Rectangles in an image's pixel frame, cutting them out of its pixels, and how large a pixel is.

Coordinate frame: x to the right, y down, (0, 0) is the upper left corner of the upper left
pixel. Patches are given in pixels of the image after any resize that the request asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dicom_io.errors import ImageCode, ImageError, Remedy

UInt8Array = npt.NDArray[np.uint8]

CMYK_BLACK = (0, 0, 0, 255)
"""Black of a four-channel (CMYK) image: full key, no colour."""


@dataclass(frozen=True, slots=True)
class Rect:
    """A rectangle of whole pixels.

    Attributes
    ----------
    x, y:
        Its upper left pixel; may be negative.
    width, height:
        Its size; a patch's is positive.
    """

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """The first column behind it."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """The first row below it."""
        return self.y + self.height

    def is_inside(self, width: int, height: int) -> bool:
        """Return whether all of it lies in an image of ``width`` x ``height`` pixels."""
        return self.x >= 0 and self.y >= 0 and self.right <= width and self.bottom <= height

    def intersection(self, other: Rect) -> Rect | None:
        """Return the part that it shares with another, ``None`` where there is none."""
        left, right = max(self.x, other.x), min(self.x + self.width, other.x + other.width)
        top, bottom = max(self.y, other.y), min(self.y + self.height, other.y + other.height)
        return Rect(left, top, right - left, bottom - top) if left < right and top < bottom else None

    def clip(self, width: int, height: int) -> Rect | None:
        """Return the part inside an image of ``width`` x ``height`` pixels, ``None`` where there is none."""
        if self.width > 0 and self.height > 0 and self.is_inside(width, height):
            return self  # as nearly all are, and this is asked several times of each patch
        return self.intersection(Rect(0, 0, width, height))

    def within(self, outer: Rect) -> tuple[slice, slice]:
        """Return its (rows, columns) in the pixels of a rectangle that it lies in."""
        left, top = self.x - outer.x, self.y - outer.y
        return slice(top, top + self.height), slice(left, left + self.width)


Patch = Rect
"""A rectangle that is to be embedded."""


@dataclass(frozen=True, slots=True)
class Spacing:
    """How far apart the centres of adjacent pixels are, in µm: along a row (x) and down a column (y)."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Sampling:
    """The size at which an image is read, beside that in which it is stored.

    Attributes
    ----------
    stored_width, stored_height:
        Size in pixels as stored.
    stored_spacing:
        Size of such a pixel; ``None`` where nothing tells.
    width, height:
        Size in pixels of the whole as it is read: after any resize.
    """

    stored_width: int
    stored_height: int
    stored_spacing: Spacing | None
    width: int
    height: int

    @property
    def is_as_stored(self) -> bool:
        """Whether nothing is resized."""
        return (self.width, self.height) == (self.stored_width, self.stored_height)

    @property
    def spacing(self) -> Spacing | None:
        """Size of a pixel as it is read; ``None`` where nothing tells."""
        if self.stored_spacing is None or self.is_as_stored:
            return self.stored_spacing
        return Spacing(
            self.stored_spacing.x * self.stored_width / self.width,
            self.stored_spacing.y * self.stored_height / self.height,
        )


def nearest(value: float) -> int:
    """Return the nearest whole number, halves up."""
    return math.floor(value + 0.5)


def rounded(left: float, top: float, right: float, bottom: float) -> Rect:
    """Return the rectangle between edges, each moved to the nearest whole pixel."""
    x, y = nearest(left), nearest(top)
    return Rect(x, y, nearest(right) - x, nearest(bottom) - y)


def require_inside(patch: Patch, width: int, height: int) -> None:
    """Raise PATCH_OUTSIDE_OF_IMAGE_DIMENSIONS_ERROR unless the patch lies in the image."""
    if not patch.is_inside(width, height):
        raise ImageError(
            ImageCode.PATCH_OUTSIDE_OF_IMAGE_DIMENSIONS_ERROR,
            f"Patch at ({patch.x}, {patch.y}) of {patch.width}x{patch.height} pixels "
            f"is not fully inside the image of {width}x{height} pixels.",
            Remedy.ALLOW_OUTSIDE,
        )


def crop(pixels: UInt8Array, patch: Patch) -> UInt8Array:
    """Cut a patch out of an image; what lies outside of the image is black.

    Parameters
    ----------
    pixels:
        uint8 ``[height, width, channels]``.
    patch:
        The rectangle, in the frame of ``pixels``.

    Returns
    -------
    uint8 ``[patch.height, patch.width, channels]``: a view where the patch lies inside.
    """
    height, width, channels = pixels.shape
    if patch.is_inside(width, height):
        return pixels[patch.y : patch.bottom, patch.x : patch.right]
    image = Rect(0, 0, width, height)
    inside = patch.intersection(image)
    out = np.zeros((patch.height, patch.width, channels), np.uint8)
    if channels == 4:
        out[:] = CMYK_BLACK
    if inside is not None:
        out[inside.within(patch)] = pixels[inside.within(image)]
    return out
