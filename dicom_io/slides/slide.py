"""A slide: its levels and their scales, an overview, where its tissue is, and patches at a scale."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Generic, TypeVar

from dicom_io.errors import ImageCode, ImageError
from dicom_io.geometry import Patch, Rect, Sampling, Spacing, UInt8Array, nearest, rounded
from dicom_io.slides.level import ScaledLevel
from dicom_io.slides.level_image import MAX_DOWNSAMPLING
from dicom_io.slides.overview import OpenLevel, read_overview
from dicom_io.slides.tissue import TissueMap, find_tissue

L_co = TypeVar("L_co", bound=ScaledLevel, covariant=True)

ABOUT_AS_FINE = 1.01
"""Scales that differ by less than this factor are taken for the same: scanners round theirs, and to resample
pixels by less than a percent would blur them for nothing."""

_LEAST_OVERVIEW_SIDE = 512


class OverviewTooLarge(ImageError):
    """No level is small enough to be read whole."""


class NoResolution(ImageError):
    """Nothing usable tells the size of the slide's pixels, and it is needed for what was asked."""


@dataclass(frozen=True, slots=True)
class View(Generic[L_co]):
    """A level at a scale: it gives the level that a request names, and the frame of the patches' coordinates.

    Attributes
    ----------
    index:
        Of the level in its slide.
    width, height:
        Size of the whole in pixels at this scale.
    """

    level: L_co
    index: int
    width: int
    height: int

    @property
    def image_dimensions(self) -> tuple[int, int] | None:
        """(width, height) to which the level is resized; ``None`` where its pixels are read as they are."""
        size = (self.width, self.height)
        return None if size == (self.level.width, self.level.height) else size

    @property
    def sampling(self) -> Sampling:
        """The level, and the size at this scale."""
        level = self.level
        return Sampling(level.width, level.height, level.spacing, self.width, self.height)

    @property
    def spacing(self) -> Spacing | None:
        """Size of a pixel at this scale, after the size of the whole was rounded to whole pixels."""
        return self.sampling.spacing

    def grid(self, side: int, stride: int) -> list[Patch]:
        """Return the patches of the whole; see ``grid``."""
        return grid(Rect(0, 0, self.width, self.height), side, stride)


@dataclass(frozen=True, slots=True)
class Slide(Generic[L_co]):
    """The pyramid of one series, or of one file.

    Coordinates of the slide are pixels of its largest level, level 0, or mm from the upper left corner of
    that level's upper left pixel; x to the right along a row, y down. Levels show the same area, so a place
    is at the same share of each level's width and height.

    Attributes
    ----------
    levels:
        Largest first, at least one; see ``pyramid_levels``.
    why_unscaled:
        Why its levels have no spacing, where they have none: a clause.
    """

    levels: tuple[L_co, ...]
    why_unscaled: str = "its metadata gives none"

    @property
    def width(self) -> int:
        """Width of level 0 in pixels."""
        return self.levels[0].width

    @property
    def height(self) -> int:
        """Height of level 0 in pixels."""
        return self.levels[0].height

    @property
    def spacing(self) -> Spacing | None:
        """Size of a pixel of level 0; ``None`` where the metadata does not tell."""
        return self.levels[0].spacing

    def view(self, index: int) -> View[L_co]:
        """Return a level as it is stored."""
        level = self.levels[index]
        return View(level, index, level.width, level.height)

    def at(self, um_per_px: float) -> View[L_co]:
        """Return the slide at a scale: the coarsest level that is at least as fine, shrunk to it.

        A level that is within 1 % of the scale (``ABOUT_AS_FINE``) is used as it is. Any other is resized on
        each axis to the nearest whole number of pixels, halves up, and never below an eighth of the level's,
        which is the most that it may be shrunk (Path Foundation API).

        Parameters
        ----------
        um_per_px:
            Wanted size of a pixel in µm.

        Raises
        ------
        ImageError
            ``NoResolution`` when the size of the pixels is not known, LEVEL_NOT_FOUND_ERROR when no level is
            as fine, DICOM_IMAGE_DOWNSAMPLING_TOO_LARGE_ERROR when the
            coarsest is more than 8 times finer.
        """
        if not 0 < um_per_px < math.inf:
            raise ValueError(f"{um_per_px} is not a size of a pixel in µm")
        fine = [
            (spacing, index)
            for index, level in enumerate(self.levels)
            if (spacing := level.spacing) and max(spacing.x, spacing.y) <= um_per_px * ABOUT_AS_FINE
        ]
        if (finest := self.spacing) is None:
            raise NoResolution(
                ImageCode.LEVEL_NOT_FOUND_ERROR,
                f"The slide's resolution is not known: {self.why_unscaled}.",
            )
        if not fine:
            raise ImageError(
                ImageCode.LEVEL_NOT_FOUND_ERROR,
                f"No level of the slide has pixels of {um_per_px:g} µm or less; the finest has "
                f"{max(finest.x, finest.y):g} µm.",
            )
        spacing, index = max(fine, key=lambda found: max(found[0].x, found[0].y))
        level = self.levels[index]
        shrunk = (um_per_px / spacing.x, um_per_px / spacing.y)
        if max(shrunk) <= ABOUT_AS_FINE:
            return self.view(index)
        if max(shrunk) > MAX_DOWNSAMPLING * ABOUT_AS_FINE:
            raise ImageError(
                ImageCode.DICOM_IMAGE_DOWNSAMPLING_TOO_LARGE_ERROR,
                f"The coarsest level has pixels of {max(spacing.x, spacing.y):g} µm; for {um_per_px:g} µm it "
                f"would be shrunk more than {MAX_DOWNSAMPLING:.0f} times.",
            )
        return View(level, index, _shrunk(level.width, shrunk[0]), _shrunk(level.height, shrunk[1]))

    def region_of_mm(self, x: float, y: float, width: float, height: float) -> Rect:
        """Return a rectangle in mm as pixels of level 0, its edges at the nearest pixel's, halves up.

        Raises
        ------
        ImageError
            ``NoResolution`` when the size of a pixel is not known.
        """
        spacing = self.spacing
        if spacing is None:
            raise NoResolution(
                ImageCode.DICOM_ERROR, f"The slide's resolution is not known: {self.why_unscaled}."
            )
        return rounded(
            x * 1000 / spacing.x,
            y * 1000 / spacing.y,
            (x + width) * 1000 / spacing.x,
            (y + height) * 1000 / spacing.y,
        )

    def patches_in(self, region: Rect, view: View[ScaledLevel], side: int, stride: int) -> list[Patch]:
        """Return the patches of a region of interest.

        What is outside of the slide is cut off. The patches lie fully in the rest, row by row from its upper
        left corner. Along an axis on which it is shorter than a patch there is one, at its middle, moved into
        the slide; where the slide itself is shorter there is none.

        Parameters
        ----------
        region:
            In pixels of level 0.
        view:
            Where the patches are given.
        side, stride:
            See ``grid``.
        """
        scale_x, scale_y = view.width / self.width, view.height / self.height
        scaled = rounded(
            region.x * scale_x, region.y * scale_y, region.right * scale_x, region.bottom * scale_y
        )
        left, width = _within(scaled.x, scaled.width, view.width, side)
        top, height = _within(scaled.y, scaled.height, view.height, side)
        return grid(Rect(left, top, width, height), side, stride)

    def overview(self, open_level: OpenLevel, max_pixels: int) -> UInt8Array:
        """Return the whole slide from its smallest level that still shows something, colours as stored.

        Parameters
        ----------
        max_pixels:
            Most pixels of a level that is read for this.

        Returns
        -------
        uint8 RGB ``[height, width, 3]``, the longer side at most ``OVERVIEW_SIDE``.

        Raises
        ------
        OverviewTooLarge
        ImageError
            Of the store, or of a frame.
        """
        index = self._overview_level()
        level = self.levels[index]
        if level.width * level.height > max_pixels:
            raise OverviewTooLarge(
                ImageCode.DICOM_ERROR,
                f"The smallest level has {level.width}x{level.height} pixels: too many to look for tissue "
                "in.",
            )
        return read_overview(open_level, index, level.width, level.height)

    def tissue(self, open_level: OpenLevel, max_pixels: int) -> TissueMap:
        """Return where tissue is, for patches of level 0; ``TissueMap.over`` makes it another frame's."""
        return find_tissue(self.overview(open_level, max_pixels), self.width, self.height)

    def _overview_level(self) -> int:
        """Return the index of the smallest level that still shows where tissue is."""
        large_enough = [
            index
            for index, level in enumerate(self.levels)
            if max(level.width, level.height) >= _LEAST_OVERVIEW_SIDE
        ]
        return large_enough[-1] if large_enough else 0


def grid(region: Rect, side: int, stride: int) -> list[Patch]:
    """Return the square patches that lie fully in a rectangle, row by row from its upper left corner.

    Parameters
    ----------
    side:
        Pixels along an edge of a patch.
    stride:
        Pixels from one patch to the next.
    """
    return [
        Patch(x, y, side, side)
        for y in range(region.y, region.bottom - side + 1, stride)
        for x in range(region.x, region.right - side + 1, stride)
    ]


def _shrunk(pixels: int, times: float) -> int:
    return max(nearest(pixels / times), math.ceil(pixels / MAX_DOWNSAMPLING))


def _within(start: int, length: int, whole: int, side: int) -> tuple[int, int]:
    """Return (start, length) of the part between 0 and ``whole``, made long enough for one patch."""
    first, last = max(start, 0), min(start + length, whole)
    if first >= last or last - first >= side:
        return first, max(0, last - first)
    middle = (first + last - side) // 2
    return max(0, min(middle, whole - side)), min(side, whole)
