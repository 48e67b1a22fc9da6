"""Which parts of a slide hold tissue: a plain rule over an overview's colours, beside those of its glass."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dicom_io.geometry import Patch, UInt8Array

OVERVIEW_SIDE = 2048
"""Longest side, in pixels, of the overview that tissue is looked for in."""

MORE_SATURATION = 12
"""How much more saturated (HSV, of 255) than the glass stained tissue is at least."""

LESS_LIGHTNESS = 30
"""How much darker (of 255) than the glass unstained things are that still count: pigment, gray images."""

MIN_LIGHTNESS = 10
"""Darker is outside of the scanned area, or a marker."""

GLASS_PERCENTILE = 95.0
"""The glass is what is at least as light as this share of the pixels, in percent. Lamps and white balances
differ: a lightness of 196 is a dim slide's glass and another's tissue."""

MOST_SATURATED_GLASS, DARKEST_GLASS = 50, 150
"""Beyond these the lightest pixels are tissue, too: a picture that tissue fills."""

USUAL_GLASS = (8, 230)
"""Saturation and lightness of glass where there is none to be seen."""


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
    """Return which pixels show tissue: what is stained, or darker than the glass, but not black.

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
    lit: npt.NDArray[np.bool_] = lightness >= MIN_LIGHTNESS
    return tissue_beside(_glass(saturation[lit], lightness[lit]), saturation, lightness)


def tissue_beside(
    glass: tuple[float, float], saturation: npt.NDArray[Any], lightness: npt.NDArray[Any]
) -> npt.NDArray[np.bool_]:
    """Return which pixels show tissue beside glass of a saturation and a lightness.

    Parameters
    ----------
    glass, saturation, lightness:
        Of 255: HSV's saturation, and OpenCV's gray; arrays of one shape, which is that of the result.
    """
    lit: npt.NDArray[np.bool_] = lightness >= MIN_LIGHTNESS
    stained = saturation >= glass[0] + MORE_SATURATION
    darker = lightness <= glass[1] - LESS_LIGHTNESS
    return lit & (stained | darker)


def _glass(saturation: npt.NDArray[Any], lightness: npt.NDArray[Any]) -> tuple[float, float]:
    """Return the saturation and the lightness of the glass, or usual ones where no glass is to be seen."""
    if lightness.size:
        lightest = lightness >= np.percentile(lightness, GLASS_PERCENTILE)
        found = float(np.median(saturation[lightest])), float(np.median(lightness[lightest]))
        if found[0] <= MOST_SATURATED_GLASS and found[1] >= DARKEST_GLASS:
            return found
    return USUAL_GLASS


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
