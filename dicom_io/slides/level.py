"""Levels of a pyramid: their grids of tiles, which pixels each tile holds, and how large a pixel is. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeGuard

from dicom_io.codecs.frame_format import FrameFormat
from dicom_io.errors import ImageCode
from dicom_io.geometry import Rect, Spacing
from dicom_io.slides.instance import SopInstance


@dataclass(frozen=True, slots=True)
class FrameAddress:
    """A frame as whoever has it knows it.

    Attributes
    ----------
    part:
        What holds the frame: the UID of a SOP instance, or a file's own name for one of its images.
    number:
        Of the frame in it, from 1.
    """

    part: str
    number: int


class ScaledLevel(Protocol):
    """What a slide asks of its levels, wherever they are stored.

    Attributes
    ----------
    width, height:
        Size in pixels.
    spacing:
        Size of a pixel; ``None`` where nothing tells.
    """

    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def spacing(self) -> Spacing | None: ...


class TiledLevel(Protocol):
    """What reading patches asks of a level: a ``TileGrid`` that knows its frames.

    Attributes
    ----------
    spacing:
        Size of a pixel; ``None`` where nothing tells.
    form:
        How the frames hold their pixels, whatever they are compressed with.
    transfer_syntaxes:
        Those in which the frames may come, the likeliest first.
    fault_code:
        Of frames that cannot be decoded.
    """

    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def tile_width(self) -> int: ...
    @property
    def tile_height(self) -> int: ...
    @property
    def frames(self) -> int: ...
    @property
    def spacing(self) -> Spacing | None: ...
    @property
    def form(self) -> FrameFormat: ...
    @property
    def transfer_syntaxes(self) -> tuple[str, ...]: ...
    @property
    def fault_code(self) -> ImageCode: ...

    def tiles(self, region: Rect) -> Iterator[tuple[int, int, int]]:
        """Yield the index of each frame that a region touches, and its upper left pixel: x and y."""
        ...

    def touched(self, region: Rect) -> int:
        """Return how many frames a region touches."""
        ...

    def frames_in(self, region: Rect) -> list[int]:
        """Return the indexes of the frames that a region touches."""
        ...

    def address(self, frame: int) -> FrameAddress:
        """Return where a frame of the level (from 0) is."""
        ...

    def describe(self, frame: int) -> str:
        """Return what people would look a frame of the level (from 0) up by."""
        ...


@dataclass(frozen=True, slots=True)
class TileGrid:
    """An image in tiles of one size, row by row from the upper left.

    Attributes
    ----------
    width, height:
        Size in pixels: of the image, not of the grid of tiles, which may reach beyond it.
    tile_width, tile_height:
        Size of a tile in pixels.
    """

    width: int
    height: int
    tile_width: int
    tile_height: int

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

    def tiles(self, region: Rect) -> Iterator[tuple[int, int, int]]:
        """Yield the index of each frame that a region touches, and its upper left pixel: x and y.

        Frames are counted from 0. Parts of the region outside of the image touch none.
        """
        columns, rows = self._grid(region)
        across, width, height = self.tiles_across, self.tile_width, self.tile_height
        for row in rows:
            for column in columns:
                yield row * across + column, column * width, row * height

    def touched(self, region: Rect) -> int:
        """Return how many frames a region touches."""
        columns, rows = self._grid(region)
        return len(columns) * len(rows)

    def frames_in(self, region: Rect) -> list[int]:
        """Return the indexes of the frames that a region touches; they may be very many."""
        columns, rows = self._grid(region)
        across = self.tiles_across
        return [row * across + column for row in rows for column in columns]

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


@dataclass(frozen=True, slots=True)
class Level(TileGrid):
    """One DICOM image of the pyramid, whole: a single SOP instance, or all parts of a concatenation.

    Its tiles are frames in the order of TILED_FULL (PS3.3, C.7.6.17.3), and its size is the total pixel
    matrix.

    Attributes
    ----------
    parts:
        The SOP instances, by the offset of their first frame.
    """

    parts: tuple[SopInstance, ...]

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
    def transfer_syntaxes(self) -> tuple[str, ...]:
        """Those in which the store has it."""
        return self.instance.transfer_syntaxes

    @property
    def fault_code(self) -> ImageCode:
        """Of frames that cannot be decoded."""
        return ImageCode.DICOM_ERROR

    def address(self, frame: int) -> FrameAddress:
        """Return where a frame of the level (from 0) is in the store."""
        part = max((p for p in self.parts if p.frame_offset <= frame), key=lambda p: p.frame_offset)
        return FrameAddress(str(part.sop_uid), frame - part.frame_offset + 1)

    def describe(self, frame: int) -> str:
        """Return the SOP instance of a frame of the level (from 0), and its number in that."""
        where = self.address(frame)
        return f"SOP instance {where.part}, frame {where.number}"


def _is_length(mm: float | None) -> TypeGuard[float]:
    return mm is not None and 0 < mm < math.inf
