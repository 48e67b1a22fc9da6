"""Which pixels of a Deep Zoom pyramid a patch of a wanted resolution is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dicom_io.errors import ImageCode, ImageError
from dicom_io.geometry import Rect, Sampling, Spacing, nearest, rounded
from dicom_io.slides.slide import ABOUT_AS_FINE
from model.encoder import PATCH_SIDE
from serving.webhooks.slidescore.client import SlideFacts, TileGrid

_MOST_UM_PER_PX = 32.0


@dataclass(frozen=True, slots=True)
class TiledLevel:
    """A level of a Deep Zoom pyramid; its pixels are ``2 ** halvings`` level-0 pixels wide and high.

    Attributes
    ----------
    number:
        Its name at the tile server: the largest level has the highest, level 0 of the pyramid is one pixel.
    halvings:
        How often the slide was halved to get it.
    width, height:
        In its own pixels.
    """

    number: int
    halvings: int
    width: int
    height: int
    tiles: TileGrid

    @property
    def shrunk(self) -> int:
        """Level-0 pixels along a pixel of this level."""
        return 1 << self.halvings

    def touched(self, region: Rect) -> tuple[tuple[int, int], ...]:
        """Return (column, row) of the tiles that a region in this level's pixels is made of."""
        inside = region.clip(self.width, self.height)
        if inside is None:
            return ()
        side = self.tiles.side
        columns = range(inside.x // side, (inside.right - 1) // side + 1)
        rows = range(inside.y // side, (inside.bottom - 1) // side + 1)
        return tuple((column, row) for row in rows for column in columns)

    def area(self, column: int, row: int) -> Rect:
        """Return what a tile shows, in this level's pixels, without what it shares with its neighbours."""
        side = self.tiles.side
        found = Rect(column * side, row * side, side, side).clip(self.width, self.height)
        assert found is not None  # tiles come from ``touched``
        return found

    def stored(self, column: int, row: int) -> Rect:
        """Return what a tile shows, the overlap with its neighbours included."""
        one, overlap = self.area(column, row), self.tiles.overlap
        wide = Rect(one.x - overlap, one.y - overlap, one.width + 2 * overlap, one.height + 2 * overlap)
        found = wide.clip(self.width, self.height)
        assert found is not None
        return found


@dataclass(frozen=True, slots=True)
class Scale:
    """A resolution of a slide.

    Attributes
    ----------
    level:
        Whose pixels patches are made of: the coarsest that is at least as fine.
    side:
        Level-0 pixels along an edge of a patch, a whole number: so patches, the cells of a heat map among
        them, lie edge to edge without rounding.
    um_per_px:
        Of a patch; it differs from what was asked for by 1 % at most, or by the rounding of ``side``.
    """

    level: TiledLevel
    side: int
    um_per_px: float

    @property
    def sampling(self) -> Sampling:
        """The level, and the size that the whole has at this resolution."""
        level = self.level
        um = self.um_per_px * PATCH_SIDE / self.side * level.shrunk
        shrunk = self.side / level.shrunk / PATCH_SIDE
        return Sampling(
            level.width,
            level.height,
            Spacing(um, um),
            max(1, nearest(level.width / shrunk)),
            max(1, nearest(level.height / shrunk)),
        )

    def on_level(self, region: Rect) -> Rect:
        """Return a region of level 0 in pixels of ``level``, its edges at the nearest ones."""
        by = self.level.shrunk
        return rounded(region.x / by, region.y / by, region.right / by, region.bottom / by)


def tiled_level(facts: SlideFacts, tiles: TileGrid, halvings: int) -> TiledLevel:
    """Return the level of a slide that was halved so often, and never below one pixel."""
    highest = max(facts.width - 1, facts.height - 1).bit_length()
    halvings = min(halvings, highest)
    by = 1 << halvings
    return TiledLevel(highest - halvings, halvings, -(-facts.width // by), -(-facts.height // by), tiles)


def scale_of(facts: SlideFacts, tiles: TileGrid, um_per_px: float) -> Scale:
    """Return how patches of a wanted resolution are read.

    The coarsest level that is at least as fine is shrunk to it; one that is within 1 % is taken as it is.

    Raises
    ------
    ImageError
        LEVEL_NOT_FOUND_ERROR when the slide is not as fine, or the resolution is none.
    """
    if not 0 < um_per_px <= _MOST_UM_PER_PX:
        raise ImageError(
            ImageCode.LEVEL_NOT_FOUND_ERROR,
            f"{um_per_px:g} µm a pixel is not a resolution of an analysis; ask for more than 0 and at most "
            f"{_MOST_UM_PER_PX:g}.",
        )
    times = um_per_px / facts.um_per_px
    if times < 1 / ABOUT_AS_FINE:
        raise ImageError(
            ImageCode.LEVEL_NOT_FOUND_ERROR,
            f"The analysis wants {um_per_px:g} µm a pixel, and this slide has {facts.um_per_px:g}: it was "
            "scanned at a lower magnification. Choose a lower one for the analysis.",
        )
    halvings = max(0, math.floor(math.log2(times * ABOUT_AS_FINE)))
    level = tiled_level(facts, tiles, halvings)
    exact = times / level.shrunk
    side = PATCH_SIDE * level.shrunk if exact <= ABOUT_AS_FINE else nearest(PATCH_SIDE * times)
    return Scale(level, side, side * facts.um_per_px / PATCH_SIDE)
