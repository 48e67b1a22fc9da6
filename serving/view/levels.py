"""The levels that a viewer draws: those of the slide, and some in between where these are too far apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from dicom_io.geometry import Rect, nearest
from dicom_io.slides.level import TiledLevel

FURTHEST = 4.4
"""How many times smaller the next level may be: viewers take steps of four without more tiles to load."""

SMALLEST_SIDE = 2048
"""A level that is not longer than this needs no smaller one."""

_STEPS = (4, 8)
"""How many times levels are shrunk for those in between; eight is the most that a level may be."""

_TILE = 512
_TILE_SIDES = range(128, 2049)
"""Stored tiles of these sides are drawn as they are; others are cut to tiles of ``_TILE``."""


@dataclass(frozen=True, slots=True)
class DrawnLevel:
    """A level as a viewer draws it.

    Attributes
    ----------
    width, height:
        Size in pixels.
    tile_width, tile_height:
        Size of a tile in pixels; the last ones of a row and of a column reach beyond the level.
    stored:
        Index of the slide's level that it is made of.
    is_stored:
        Whether its tiles are that level's own.
    """

    width: int
    height: int
    tile_width: int
    tile_height: int
    stored: int
    is_stored: bool

    @property
    def across(self) -> int:
        """Tiles in a row."""
        return -(-self.width // self.tile_width)

    @property
    def down(self) -> int:
        """Rows of tiles."""
        return -(-self.height // self.tile_height)

    def tile(self, column: int, row: int) -> Rect:
        """Return the pixels of a tile: those inside of the level."""
        x, y = column * self.tile_width, row * self.tile_height
        return Rect(x, y, min(self.tile_width, self.width - x), min(self.tile_height, self.height - y))


def drawn_levels(levels: Sequence[TiledLevel]) -> tuple[DrawnLevel, ...]:
    """Return the levels to draw, largest first.

    Parameters
    ----------
    levels:
        Of the slide, largest first.
    """
    drawn: list[DrawnLevel] = []
    widths = [level.width for level in levels]
    # After the smallest one they go on until all of it is small.
    end = min(widths[-1], max(1, widths[-1] * SMALLEST_SIDE // max(levels[-1].width, levels[-1].height)))
    for index, (width, smaller) in enumerate(pairwise([*widths, end])):
        drawn.append(_as_stored(levels[index], index))
        between = [times for times in _STEPS if width / smaller > FURTHEST * times / _STEPS[0]]
        drawn += [_shrunk(levels[index], index, times) for times in between]
    return tuple(drawn)


def _as_stored(level: TiledLevel, index: int) -> DrawnLevel:
    own = level.tile_width in _TILE_SIDES and level.tile_height in _TILE_SIDES
    width, height = (level.tile_width, level.tile_height) if own else (_TILE, _TILE)
    return DrawnLevel(level.width, level.height, width, height, index, own)


def _shrunk(level: TiledLevel, index: int, times: int) -> DrawnLevel:
    width, height = max(1, nearest(level.width / times)), max(1, nearest(level.height / times))
    # Never below an eighth, which is the most that a level may be shrunk.
    width, height = max(width, -(-level.width // 8)), max(height, -(-level.height // 8))
    return DrawnLevel(width, height, _TILE, _TILE, index, False)
