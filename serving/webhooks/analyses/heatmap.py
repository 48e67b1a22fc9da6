"""Scores over a slide as a grid of bytes, and the contours of such a grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from shapely import Polygon

from serving.webhooks.analyses.patches import Float32Array, Patches


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Scores on a grid of square cells.

    Attributes
    ----------
    x, y:
        Upper left corner in level-0 pixels.
    size:
        Side of a cell in level-0 pixels.
    values:
        uint8 ``[rows, columns]``, at least one of each: 0 where there is no patch, 1 for the lowest score
        to 255 for the highest.
    """

    x: int
    y: int
    size: int
    values: npt.NDArray[np.uint8]

    @property
    def width(self) -> int:
        """Width in level-0 pixels: columns x size."""
        return self.values.shape[1] * self.size

    @property
    def height(self) -> int:
        """Height in level-0 pixels: rows x size."""
        return self.values.shape[0] * self.size


@dataclass(frozen=True, slots=True)
class Contour:
    """Where a heat map reaches a level.

    Attributes
    ----------
    level:
        Of the heat map's values, 1 to 255.
    polygon:
        In level-0 pixels; it may have holes.
    """

    level: float
    polygon: Polygon


def heat_map(patches: Patches, scores: Float32Array, low: float = 0.0, high: float = 1.0) -> HeatMap:
    """Return scores as a heat map.

    Parameters
    ----------
    scores:
        float32 ``[n]``, finite.
    low, high:
        Scores that become 1 and 255; those beyond are held to them.
    """
    raise NotImplementedError


def contours(heat: HeatMap, levels: Sequence[float]) -> tuple[Contour, ...]:
    """Return the areas where a heat map is at a level or above, lowest level first.

    Each level's polygons lie in those of the level below, so that drawn in order the highest is on top.
    """
    raise NotImplementedError
