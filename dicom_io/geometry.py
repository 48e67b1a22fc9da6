"""Patches: rectangles in an image's pixel frame, and cutting them out of its pixels.

Coordinate frame: x to the right, y down, (0, 0) is the upper left corner of the upper left
pixel, in pixels of the image after any resize that the request asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dicom_io.errors import ImageCode, ImageError, Remedy

UInt8Array = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Patch:
    """A rectangle of pixels; the origin may be negative, the size is positive."""

    x_origin: int
    y_origin: int
    width: int
    height: int

    def is_inside(self, width: int, height: int) -> bool:
        """Say whether the whole patch lies in an image of ``width`` x ``height`` pixels."""
        return (
            self.x_origin >= 0
            and self.y_origin >= 0
            and self.x_origin + self.width <= width
            and self.y_origin + self.height <= height
        )


def require_inside(patch: Patch, width: int, height: int) -> None:
    """Raise PATCH_OUTSIDE_OF_IMAGE_DIMENSIONS_ERROR unless the patch lies in the image."""
    if not patch.is_inside(width, height):
        raise ImageError(
            ImageCode.PATCH_OUTSIDE_OF_IMAGE_DIMENSIONS_ERROR,
            f"Patch at ({patch.x_origin}, {patch.y_origin}) of {patch.width}x{patch.height} pixels "
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
        return pixels[
            patch.y_origin : patch.y_origin + patch.height,
            patch.x_origin : patch.x_origin + patch.width,
        ]
    out = np.zeros((patch.height, patch.width, channels), np.uint8)
    if channels == 4:
        out[:] = CMYK_BLACK
    left, right = max(patch.x_origin, 0), min(patch.x_origin + patch.width, width)
    top, bottom = max(patch.y_origin, 0), min(patch.y_origin + patch.height, height)
    if left < right and top < bottom:
        out[
            top - patch.y_origin : bottom - patch.y_origin,
            left - patch.x_origin : right - patch.x_origin,
        ] = pixels[top:bottom, left:right]
    return out


CMYK_BLACK = (0, 0, 0, 255)
"""Black of a four-channel (CMYK) image: full key, no colour."""
