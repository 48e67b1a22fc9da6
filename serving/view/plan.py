"""Which patches of a slide the page embeds: a grid at a scale, and which of them show tissue."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from dicom_io.cache import SharedCache
from dicom_io.errors import ImageCode, ImageError
from dicom_io.slides.level import ScaledLevel
from dicom_io.slides.slide import OverviewTooLarge, Slide, View
from dicom_io.slides.tissue import TissueMap
from model.encoder import PATCH_SIDE
from serving.errors import Code, ServiceError
from serving.view.slides import ViewedSlide

UM_PER_PX = 0.5
"""Scale at which a slide is embedded unless another is asked for: 20x."""

LEAST_TISSUE = 0.05
"""Share of a patch that shows tissue; that of ``pathserve embed``."""

MOST_PATCHES = 200_000
"""Vectors of so many take 150 MB of a browser."""

_LIFE_S = 600.0
_MASKS_BYTES = 64 << 20
_WAIT_S = 300.0


@dataclass(frozen=True, slots=True)
class PatchPlan:
    """A grid of patches, side by side, row by row from the upper left.

    Attributes
    ----------
    view:
        The frame that patches are given in.
    tissue:
        bool ``[rows * columns]``: which patches show tissue; ``None`` where it was not looked for.
    why_all:
        Why it was not: a sentence, else empty.
    """

    view: View[ScaledLevel]
    columns: int
    rows: int
    tissue: npt.NDArray[np.bool_] | None = field(repr=False)
    why_all: str


class Planner:
    """Plans grids; one object for a process, which keeps where tissue is. Safe for many threads.

    Parameters
    ----------
    max_pixels:
        Most pixels of a level that is read to look for tissue.
    """

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels
        self._tissue: SharedCache[Hashable, TissueMap] = SharedCache(_MASKS_BYTES, _LIFE_S)

    def plan(self, slide: ViewedSlide, um_per_px: float | None) -> PatchPlan:
        """Plan the patches of a slide.

        Parameters
        ----------
        um_per_px:
            Wanted size of a pixel; ``None`` is ``UM_PER_PX``. A slide that is coarser, or does not say, is
            taken as it is.

        Raises
        ------
        ServiceError
            TOO_MANY_PATCHES_ERROR, IMAGE_DIMENSION_ERROR when not one patch fits.
        ImageError
        """
        view = _view(slide.slide, UM_PER_PX if um_per_px is None else um_per_px)
        columns, rows = view.width // PATCH_SIDE, view.height // PATCH_SIDE
        if not columns or not rows:
            raise ServiceError(
                Code.IMAGE_DIMENSION_ERROR,
                f"At this scale the slide has {view.width}x{view.height} pixels, less than a patch of "
                f"{PATCH_SIDE}x{PATCH_SIDE}; choose a finer one.",
            )
        if columns * rows > MOST_PATCHES:
            raise ServiceError(
                Code.TOO_MANY_PATCHES_ERROR,
                f"At this scale the slide has {columns * rows:,} patches, more than a browser holds; choose "
                "a coarser one, or use `pathserve embed` and open its Parquet.",
            )
        try:
            tissue = self._where(slide)
        except OverviewTooLarge as error:
            return PatchPlan(view, columns, rows, None, error.description)
        here = tissue.over(view.width, view.height)
        shares = [here.share(patch) for patch in view.grid(PATCH_SIDE, PATCH_SIDE)]
        shown = np.array(shares) >= LEAST_TISSUE
        if not shown.any():
            return PatchPlan(view, columns, rows, None, "No patch looks like tissue.")
        return PatchPlan(view, columns, rows, shown, "")

    def _where(self, slide: ViewedSlide) -> TissueMap:
        def make() -> tuple[TissueMap, int]:
            found = slide.slide.tissue(slide.open, self._max_pixels)
            return found, found.mask.nbytes

        return self._tissue.get(slide.key, make, _WAIT_S)


def _view(slide: Slide[ScaledLevel], um_per_px: float) -> View[ScaledLevel]:
    spacing = slide.spacing
    if spacing is None:
        return slide.view(0)
    try:
        return slide.at(um_per_px)
    except ImageError as error:
        if error.code is not ImageCode.LEVEL_NOT_FOUND_ERROR:
            raise
        return slide.view(0)
