"""Which parts of a slide hold tissue: a plain rule over the colours of an overview."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from dicom_io.geometry import Patch, UInt8Array

OVERVIEW_SIDE = 2048
"""Longest side, in pixels, of the overview that tissue is looked for in."""

MIN_SATURATION = 20
"""Least saturation (HSV, of 255) of stained tissue."""

MAX_LIGHTNESS = 200
"""Most lightness (of 255) of unstained things that still count: pigment, gray images."""

MIN_LIGHTNESS = 10
"""Darker is outside of the scanned area, or a marker."""


def overview_of(pixels: UInt8Array) -> UInt8Array:
    """Return a whole image, area-averaged to a longer side of at most ``OVERVIEW_SIDE`` pixels.

    Parameters
    ----------
    pixels:
        uint8 RGB ``[height, width, 3]``.
    """
    scale = OVERVIEW_SIDE / max(pixels.shape[:2])
    if scale >= 1:
        return np.ascontiguousarray(pixels)
    small = cv2.resize(np.ascontiguousarray(pixels), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def find_tissue(pixels: UInt8Array, width: int, height: int) -> TissueMap:
    """Return where tissue is on an image, for patches in a frame of ``width`` x ``height`` pixels.

    Parameters
    ----------
    pixels:
        The whole image at any size, uint8 RGB ``[rows, columns, 3]``.
    """
    return TissueMap(tissue_mask(overview_of(pixels)), width, height)


def tissue_mask(pixels: UInt8Array) -> npt.NDArray[np.bool_]:
    """Return which pixels show tissue: what is stained, or darker than glass, but not black.

    Parameters
    ----------
    pixels:
        uint8 RGB ``[height, width, 3]``.

    Returns
    -------
    bool ``[height, width]``
    """
    saturation = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)[:, :, 1]
    lightness = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    mask: npt.NDArray[np.bool_] = (saturation >= MIN_SATURATION) | (lightness <= MAX_LIGHTNESS)
    return mask & (lightness >= MIN_LIGHTNESS)


@dataclass(frozen=True, slots=True)
class TissueMap:
    """A mask over a whole image, at any scale.

    Attributes
    ----------
    mask:
        bool ``[rows, columns]`` over the whole image.
    width, height:
        Size in pixels of the image that patches are given in.
    """

    mask: npt.NDArray[np.bool_]
    width: int
    height: int

    def over(self, width: int, height: int) -> TissueMap:
        """Return the map for patches in another frame of the same image."""
        return replace(self, width=width, height=height)

    def where(self, patches: Iterable[Patch], least: float) -> list[Patch]:
        """Return the patches of which at least a share, 0 to 1, shows tissue."""
        return [patch for patch in patches if self.share(patch) >= least]

    def share(self, patch: Patch) -> float:
        """Return the share, 0 to 1, of the patch that shows tissue, by at least one pixel of the mask."""
        rows, columns = self.mask.shape
        left, right = _span(patch.x, patch.width, self.width, columns)
        top, bottom = _span(patch.y, patch.height, self.height, rows)
        return float(self.mask[top:bottom, left:right].mean())


def _span(start: int, size: int, whole: int, cells: int) -> tuple[int, int]:
    first = min(cells - 1, max(0, start * cells // whole))
    return first, min(cells, max(first + 1, -(-(start + size) * cells // whole)))
