"""What ``pathserve embed`` embeds of a slide: a level, or a scale, and the patches that show tissue."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from dicom_io.errors import ImageCode, ImageError
from dicom_io.geometry import Rect, UInt8Array, nearest
from dicom_io.reading import ReadOptions
from dicom_io.slides.level import ScaledLevel
from dicom_io.slides.slide import NoResolution, OverviewTooLarge, Slide, View, grid
from dicom_io.slides.tissue import TissueMap, find_tissue
from dicom_io.sources.session import ReadContext
from model.encoder import PATCH_SIDE
from serving.batch.given_tissue import read_tissue
from serving.batch.opened import OpenedSlide, TargetError
from serving.batch.plan import Origin
from serving.errors import Code
from serving.output.table import PatchFrame
from serving.pipeline.magnification import MagnificationGuard, judge_for_command

MOST_ENLARGED = 1.15
"""How much coarser than asked for a slide may be: scanners' 20x has pixels of 0.44 to 0.55 µm, and what is
a little over 0.5 is enlarged to it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which patches of a slide are wanted.

    Attributes
    ----------
    level:
        Index of the level that is read as it is; ``None`` where ``mpp`` is given.
    mpp:
        Size of a pixel in µm that the slide is brought to.
    tissue:
        File with the tissue; ``None`` looks for it.
    least_tissue:
        Least share, 0 to 1, of a patch that must show tissue; ``None`` takes all patches.
    """

    level: int | None
    mpp: float | None
    stride: int
    tissue: Path | None
    least_tissue: float | None


@dataclass(frozen=True, slots=True)
class Target:
    """The patches of a slide that are embedded.

    Attributes
    ----------
    frame:
        The pixels that patches are given in.
    options:
        How the level is read: its size, where it is not as stored.
    origins:
        (x, y) of the patches, row by row.
    overview:
        The whole slide, uint8 RGB ``[rows, columns, 3]``; ``None`` where it cannot be read, nor has to.
    tissue:
        Where tissue is; ``None`` where it was not looked for.
    warning:
        What the magnification guard says of the scale; empty for nothing.
    """

    frame: PatchFrame
    options: ReadOptions
    origins: list[Origin]
    overview: UInt8Array | None = field(repr=False)
    tissue: TissueMap | None = field(repr=False)
    warning: str = ""

    @property
    def scale(self) -> str:
        """What is read, in words."""
        frame = self.frame
        size = f"{frame.width}x{frame.height} pixels"
        return f"{size}, level {frame.level}" + ("" if frame.mpp is None else f" at {frame.mpp:.4g} µm")


def find_target(
    slide: OpenedSlide,
    wanted: Wanted,
    context: ReadContext,
    guard: MagnificationGuard,
    *,
    pictured: bool = True,
) -> Target:
    """Choose a level, look for tissue and lay the grid.

    Parameters
    ----------
    pictured:
        Whether the overview is wanted for its own sake, where no tissue has to be looked for in it.

    Raises
    ------
    TargetError
        When there is no such level or scale, no size of a pixel, or no patch to embed; or the guard refuses
        the scale, MAGNIFICATION_ERROR.
    TissueError
        When the file of tissue cannot be used.
    ImageError
        When a store or an image has a fault.
    """
    view = view_of(slide.slide, wanted)
    refused, warning = judge_for_command(view.sampling, guard)
    if refused:
        raise TargetError(f"{Code.MAGNIFICATION_ERROR}: {warning}")
    needed = wanted.least_tissue is not None and wanted.tissue is None
    overview = _overview(slide, needed=needed) if needed or pictured else None
    tissue = None
    width0, height0 = slide.slide.width, slide.slide.height
    if wanted.least_tissue is not None:
        if wanted.tissue is not None:
            tissue = read_tissue(wanted.tissue, width0, height0, context)
        elif overview is not None:
            tissue = find_tissue(overview, width0, height0)
    patches = grid(Rect(0, 0, view.width, view.height), PATCH_SIDE, wanted.stride)
    if not patches:
        raise TargetError(
            f"The slide has {view.width}x{view.height} pixels at this scale, less than a patch of "
            f"{PATCH_SIDE}x{PATCH_SIDE}."
        )
    if tissue is not None and wanted.least_tissue is not None:
        patches = tissue.over(view.width, view.height).where(patches, wanted.least_tissue)
    if not patches:
        raise TargetError(
            f"No patch of {view.width}x{view.height} pixels shows tissue; --all takes those without, too."
        )
    return Target(
        _frame(slide.slide, view),
        ReadOptions(image_dimensions=view.image_dimensions, stored_spacing=slide.given_spacing(view.index)),
        [(patch.x, patch.y) for patch in patches],
        overview,
        tissue,
        warning,
    )


def view_of(slide: Slide[ScaledLevel], wanted: Wanted) -> View[ScaledLevel]:
    """Return the level, or the scale, of a slide that is wanted.

    Raises
    ------
    TargetError
        When there is none, or no size of a pixel.
    """
    if wanted.mpp is not None:
        return at_scale(slide, wanted.mpp)
    levels, level = slide.levels, wanted.level or 0
    if not 0 <= level < len(levels):
        sizes = ", ".join(f"{i}: {found.width}x{found.height}" for i, found in enumerate(levels))
        raise TargetError(f"The slide has no level {level}; it has {sizes}.")
    return slide.view(level)


def at_scale(slide: Slide[ScaledLevel], mpp: float) -> View[ScaledLevel]:
    """Return a slide at a size of a pixel in µm: see ``Slide.at``, and ``MOST_ENLARGED``.

    Raises
    ------
    TargetError
        When the size of its pixels is not known, or there is no such level.
    """
    try:
        return slide.at(mpp)
    except NoResolution as error:
        raise TargetError(
            f"{error.fault.description} Give it with --slide-mpp, the µm of a pixel of the largest level: "
            "about 0.25 where the objective was 40x, 0.5 where it was 20x."
        ) from error
    except ImageError as error:
        spacing = slide.spacing
        if error.code is not ImageCode.LEVEL_NOT_FOUND_ERROR or spacing is None:
            raise
        enlarged = max(spacing.x, spacing.y) / mpp
        if enlarged > MOST_ENLARGED:
            raise TargetError(
                f"The slide's finest pixels are {max(spacing.x, spacing.y):.4g} µm, too coarse for {mpp:g} "
                f"µm; ask for --mpp {math.ceil(max(spacing.x, spacing.y) * 1000) / 1000:g} or more."
            ) from error
        width, height = nearest(slide.width * spacing.x / mpp), nearest(slide.height * spacing.y / mpp)
        return View(slide.levels[0], 0, width, height)


def _overview(slide: OpenedSlide, *, needed: bool) -> UInt8Array | None:
    try:
        return slide.overview()
    except ImageError as error:
        if not needed:
            return None  # what is damaged has patches that can be read all the same
        if isinstance(error, OverviewTooLarge):
            raise TargetError(f"{error.description} Embed all of it with --all.") from error
        raise


def _frame(slide: Slide[ScaledLevel], view: View[ScaledLevel]) -> PatchFrame:
    scale, scale0 = view.spacing, slide.spacing
    return PatchFrame(
        view.index,
        view.width,
        view.height,
        slide.width,
        slide.height,
        None if scale is None else (scale.x + scale.y) / 2,
        None if scale0 is None else (scale0.x + scale0.y) / 2,
    )
