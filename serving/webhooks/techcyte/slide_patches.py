"""The patches of a slide in local files: those that show tissue, at a stated resolution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from dicom_io.geometry import Patch, UInt8Array
from dicom_io.local.slide import LocalSlide
from dicom_io.reading import ReadOptions
from dicom_io.slides.level import ScaledLevel
from dicom_io.slides.slide import View
from dicom_io.slides.tissue import TissueMap, tissue_mask
from dicom_io.waiting import Cancellation
from model.encoder import PATCH_SIDE
from serving.pipeline.embedder import Embedder
from serving.pipeline.types import Instance
from serving.webhooks.analyses.errors import AnalysisError
from serving.webhooks.analyses.patches import BoolArray, Int64Array, Patches
from serving.webhooks.analyses.quality import pen_mask
from serving.webhooks.embedding import LEAST_TISSUE, MOST_PLACES, Made, embed_in_chunks

_RIM = 15
"""Pixels of an overview across which ink is widened."""

_ALONG_A_BLOCK = 16
"""Patches along an edge of a block that is embedded together: its patches share nearly all their tiles."""


@dataclass(frozen=True, slots=True)
class Overview:
    """A slide seen whole.

    Attributes
    ----------
    pixels:
        uint8 RGB ``[rows, columns, 3]``.
    tissue:
        bool ``[rows, columns]``, without what is under a pen's ink.
    pen:
        bool ``[rows, columns]``.
    """

    pixels: UInt8Array
    tissue: BoolArray
    pen: BoolArray


@dataclass(frozen=True, slots=True)
class SlidePatches:
    """Patches of a slide at one resolution.

    Attributes
    ----------
    view:
        What they are read from; ``patches`` are in its pixels.
    tissue:
        Share of each patch that shows tissue, float64 ``[n]``, 0 to 1.
    of_all:
        Share of the slide's patches that these are, 0 to 1.
    """

    slide: LocalSlide
    view: View[ScaledLevel]
    patches: tuple[Patch, ...]
    tissue: npt.NDArray[np.float64]
    of_all: float

    def __len__(self) -> int:
        return len(self.patches)

    @property
    def um_per_px(self) -> float:
        """Size of a pixel of the patches in µm."""
        spacing = self.view.spacing
        assert spacing is not None  # the view is one at a resolution
        return (spacing.x + spacing.y) / 2

    @property
    def side(self) -> float:
        """Side of a patch in level-0 pixels."""
        return PATCH_SIDE * self.slide.slide.width / self.view.width

    @property
    def origins(self) -> Int64Array:
        """int64 ``[n, 2]``: (x, y) of the upper left corners in level-0 pixels, at the nearest ones."""
        slide = self.slide.slide
        scale = (slide.width / self.view.width, slide.height / self.view.height)
        places = np.array([(patch.x, patch.y) for patch in self.patches], np.float64)
        return np.floor(places * scale + 0.5).astype(np.int64)

    def only(self, rows: npt.NDArray[np.int64]) -> SlidePatches:
        """Return some of them."""
        return replace(self, patches=tuple(self.patches[row] for row in rows), tissue=self.tissue[rows])

    def as_lattice(self) -> Patches:
        """Return them as analyses take them."""
        return Patches(self.origins, self.side)

    def embed(self, embedder: Embedder, done: Callable[[int, int], None]) -> Made:
        """Return their embeddings; raises NotEmbedded."""
        source = self.slide.source(self.view.index)
        options = ReadOptions(image_dimensions=self.view.image_dimensions)
        return embed_in_chunks(
            len(self), lambda some: Instance(source, self.patches[some], options), embedder, done
        )


def overview_of(slide: LocalSlide, waits: Cancellation) -> Overview:
    """Return a slide seen whole, where its tissue is, and where a pen has marked it.

    Raises
    ------
    ImageError, Cancelled, TimeoutError
    """
    pixels = slide.overview(waits)
    pen = pen_mask(pixels)
    # Ink is stained and dark as tissue is, and a rim around it, too, where it fades or was compressed.
    around = cv2.dilate(pen.astype(np.uint8), np.ones((_RIM, _RIM), np.uint8)).astype(np.bool_)
    return Overview(pixels, tissue_mask(pixels) & ~around, pen)


def patches_with_tissue(slide: LocalSlide, overview: Overview, um_per_px: float) -> SlidePatches:
    """Return the patches of a slide that show tissue, block by block; there may be none.

    Raises
    ------
    ImageError
        When the slide has no such resolution, or none is known.
    AnalysisError
        When its pixels are not square, or it is larger than can be planned.
    """
    view = slide.slide.at(um_per_px)
    spacing = view.spacing
    if spacing is None or abs(spacing.x - spacing.y) > 0.02 * max(spacing.x, spacing.y):
        raise AnalysisError("The slide's pixels are not square, so that its patches cannot be laid out.")
    places = (view.width // PATCH_SIDE) * (view.height // PATCH_SIDE)
    if places > MOST_PLACES:  # a file may claim any size
        raise AnalysisError(f"The slide spans {places:,} patches at {um_per_px:g} µm a pixel: too many.")
    grid = view.grid(PATCH_SIDE, PATCH_SIDE)
    tissue = TissueMap(overview.tissue, view.width, view.height)
    shares = [(patch, share) for patch in grid if (share := tissue.share(patch)) >= LEAST_TISSUE]
    shares.sort(key=lambda found: _place(found[0]))
    return SlidePatches(
        slide,
        view,
        tuple(patch for patch, _ in shares),
        np.array([share for _, share in shares], np.float64),
        len(shares) / max(1, len(grid)),
    )


def _place(patch: Patch) -> tuple[int, int, int, int]:
    block = _ALONG_A_BLOCK * PATCH_SIDE
    return patch.y // block, patch.x // block, patch.y, patch.x
