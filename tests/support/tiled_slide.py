"""A slide of any size, as a tile server cuts it (Deep Zoom)."""

from __future__ import annotations

import cv2
import numpy as np

from dicom_io.geometry import Rect
from tests.support.tissue import UInt8Array, encode, tissue

GLASS = 245
"""Gray of what shows no tissue."""


class StoredSlide:
    """A slide of any size without its memory: a texture, repeated, on glass.

    Parameters
    ----------
    where:
        Where there is tissue; ``None`` is everywhere.
    texture:
        uint8 RGB; its sides are powers of two, unless it is the whole slide.
    """

    def __init__(
        self,
        width: int,
        height: int,
        mpp: float | None = 0.25,
        where: Rect | None = None,
        texture: UInt8Array | None = None,
        tile_side: int = 254,
        overlap: int = 1,
    ) -> None:
        self.width, self.height, self.mpp = width, height, mpp
        self.where = where or Rect(0, 0, width, height)
        self.tile_side, self.overlap = tile_side, overlap
        self._textures = [tissue(1024, 1024) if texture is None else texture]

    @property
    def highest(self) -> int:
        """Number of the largest level."""
        return max(self.width - 1, self.height - 1).bit_length()

    def level_size(self, halvings: int) -> tuple[int, int]:
        return -(-self.width >> halvings), -(-self.height >> halvings)

    def pixels(self, halvings: int, region: Rect) -> UInt8Array:
        """Pixels of a region of a level, uint8 RGB; the region lies inside."""
        texture = self._texture(halvings)
        rows = np.arange(region.y, region.bottom) % texture.shape[0]
        columns = np.arange(region.x, region.right) % texture.shape[1]
        found: UInt8Array = texture[rows[:, np.newaxis], columns[np.newaxis, :]].copy()
        by = 1 << halvings
        shown = Rect(self.where.x // by, self.where.y // by, self.where.width // by, self.where.height // by)
        glass = np.full_like(found, GLASS)
        if (part := shown.intersection(region)) is not None:
            glass[part.within(region)] = found[part.within(region)]
        return glass

    def tile(self, level: int, column: int, row: int) -> bytes | None:
        """A tile as JPEG; ``None`` where there is none."""
        halvings = self.highest - level
        if halvings < 0 or level < 0:
            return None
        width, height = self.level_size(halvings)
        x, y = column * self.tile_side, row * self.tile_side
        if not (0 <= x < width and 0 <= y < height):
            return None
        wide = Rect(
            x - self.overlap,
            y - self.overlap,
            self.tile_side + 2 * self.overlap,
            self.tile_side + 2 * self.overlap,
        )
        region = wide.clip(width, height)
        assert region is not None
        return encode(self.pixels(halvings, region), "JPEG", quality=95, subsampling=0)

    def _texture(self, halvings: int) -> UInt8Array:
        while len(self._textures) <= halvings:
            last = self._textures[-1]
            even = np.pad(last, ((0, last.shape[0] % 2), (0, last.shape[1] % 2), (0, 0)), mode="edge")
            half = (even.shape[1] // 2, even.shape[0] // 2)
            self._textures.append(np.asarray(cv2.resize(even, half, interpolation=cv2.INTER_AREA), np.uint8))
        return self._textures[halvings]
