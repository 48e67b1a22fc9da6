"""A level of a pyramid: its frames, which pixels each holds, and how large a pixel is. Pure; no I/O."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeGuard

from dicom_io.codecs.frame_format import FrameFormat
from dicom_io.geometry import Rect
from dicom_io.slides.instance import SopInstance


@dataclass(frozen=True, slots=True)
class FrameAddress:
    """A frame as a store knows it: the SOP instance's UID and the number of the frame in it, from 1."""

    sop_uid: str
    number: int


@dataclass(frozen=True, slots=True)
class Spacing:
    """How far apart the centres of adjacent pixels are, in µm: along a row (x) and down a column (y)."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Level:
    """One image of the pyramid, whole: a single SOP instance, or all parts of a concatenation.

    Attributes
    ----------
    parts:
        The SOP instances, by the offset of their first frame.
    width, height:
        Size in pixels: the total pixel matrix, not the grid of tiles, which may reach beyond it.
    tile_width, tile_height:
        Size of a frame in pixels.
    """

    parts: tuple[SopInstance, ...]
    width: int
    height: int
    tile_width: int
    tile_height: int

    @property
    def instance(self) -> SopInstance:
        """The first part; the description of the pixels is the same in all of them."""
        return self.parts[0]

    @property
    def sop_uids(self) -> tuple[str, ...]:
        """UIDs of the parts."""
        return tuple(str(part.sop_uid) for part in self.parts)

    @property
    def form(self) -> FrameFormat:
        """How the level's frames hold their pixels, whatever they are compressed with."""
        described = self.instance
        return FrameFormat(
            self.tile_width,
            self.tile_height,
            described.samples or 0,
            str(described.photometric),
            described.planar,
        )

    @property
    def spacing(self) -> Spacing | None:
        """Size of a pixel, ``None`` where the metadata does not tell.

        Pixel Spacing (PS3.3, C.7.6.16.2.1) comes first. Where it is missing or not positive, the imaged
        volume is divided by the total pixel matrix, which in a TILED_FULL image covers all of it (PS3.3,
        C.8.12.4.1.2).
        """
        described = self.instance
        if (spacing := described.pixel_spacing) is not None and all(_is_length(mm) for mm in spacing):
            down, across = spacing  # the distance between rows comes first (PS3.3, 10.7.1.3)
            return Spacing(across * 1000, down * 1000)
        width, height = described.imaged_width, described.imaged_height
        if described.is_whole_slide and _is_length(width) and _is_length(height):
            return Spacing(width * 1000 / self.width, height * 1000 / self.height)
        return None

    @property
    def tiles_across(self) -> int:
        """Tiles in a row of the grid."""
        return -(-self.width // self.tile_width)

    @property
    def tiles_down(self) -> int:
        """Rows of the grid."""
        return -(-self.height // self.tile_height)

    @property
    def frames(self) -> int:
        """Frames of the whole level."""
        return self.tiles_across * self.tiles_down

    def tiles(self, region: Rect) -> Iterator[tuple[int, Rect]]:
        """Yield the index of each frame that a region touches, and the frame's own rectangle.

        Frames are TILED_FULL: row by row from the upper left, from 0 (PS3.3, C.7.6.17.3). Parts of the
        region outside of the image touch none.
        """
        columns, rows = self._grid(region)
        for row in rows:
            for column in columns:
                x, y = column * self.tile_width, row * self.tile_height
                yield row * self.tiles_across + column, Rect(x, y, self.tile_width, self.tile_height)

    def touched(self, region: Rect) -> int:
        """Return how many frames a region touches."""
        columns, rows = self._grid(region)
        return len(columns) * len(rows)

    def _grid(self, region: Rect) -> tuple[range, range]:
        """Return the columns and rows of the grid of tiles that a region touches."""
        inside = region.clip(self.width, self.height)
        if inside is None:
            return range(0), range(0)
        across, down = self.tile_width, self.tile_height
        return (
            range(inside.x // across, -(-inside.right // across)),
            range(inside.y // down, -(-inside.bottom // down)),
        )

    def address(self, frame: int) -> FrameAddress:
        """Return where a frame of the level (from 0) is in the store."""
        part = max((p for p in self.parts if p.frame_offset <= frame), key=lambda p: p.frame_offset)
        return FrameAddress(str(part.sop_uid), frame - part.frame_offset + 1)


def _is_length(mm: float | None) -> TypeGuard[float]:
    return mm is not None and 0 < mm < math.inf
