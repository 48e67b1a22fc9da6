"""Scores over a slide as a grid of bytes, and the contours of such a grid."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import shapely
from contourpy import FillType, contour_generator
from shapely import Polygon

from serving.webhooks.analyses.patches import Float32Array, Float64Array, Int64Array, Patches
from serving.webhooks.analyses.regions import Region, on_grid, polygonal

LOWEST, HIGHEST = 1, 255
"""Values of the lowest score and of the highest; 0 is left for where there is no patch."""

LEAST_AREA = 1e-4
"""Share of the slide that an area of a mask, or a hole in it, has at least: 400 pixels of an overview."""


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
        return int(self.values.shape[1]) * self.size

    @property
    def height(self) -> int:
        """Height in level-0 pixels: rows x size."""
        return int(self.values.shape[0]) * self.size


@dataclass(frozen=True, slots=True)
class Contour:
    """A part of the slide where a heat map is at a level or above.

    Attributes
    ----------
    level:
        Of the heat map's values, above 0 to 255.
    polygon:
        Valid, in level-0 pixels; it may have holes.
    """

    level: float
    polygon: Polygon


def heat_map(patches: Patches, scores: Float32Array, low: float = 0.0, high: float = 1.0) -> HeatMap:
    """Return scores as a heat map.

    A cell is a whole number of pixels, since viewers know no other; where patches have a fraction, a cell has
    the score of the patch at its centre, so that it is nowhere off by more than half a patch.

    Parameters
    ----------
    scores:
        float32 ``[n]``, finite.
    low, high:
        Scores that become 1 and 255; those beyond are held to them.
    """
    if not low < high:
        raise ValueError(f"{low} to {high} is no range of scores")
    share = (np.clip(scores.astype(np.float64), low, high) - low) / (high - low)
    columns, rows = patches.edges
    column, row = patches.cells.T
    grid = np.zeros((len(rows) - 1, len(columns) - 1), np.uint8)
    grid[row, column] = np.rint(LOWEST + share * (HIGHEST - LOWEST)).astype(np.uint8)
    size = max(1, round(patches.pitch))
    values = grid[np.ix_(_cells_at_centres(rows, size), _cells_at_centres(columns, size))]
    return HeatMap(int(columns[0]), int(rows[0]), size, np.ascontiguousarray(values))


def _cells_at_centres(edges: Int64Array, size: int) -> Int64Array:
    """Return which cell of a lattice's axis is at the centre of each cell of ``size`` whole pixels."""
    count = max(1, round(int(edges[-1] - edges[0]) / size))
    centres = edges[0] + (np.arange(count) + 0.5) * size
    found = np.searchsorted(edges, centres, side="right") - 1
    return np.asarray(np.clip(found, 0, len(edges) - 2), np.int64)


def contours(heat: HeatMap, levels: Sequence[float], region: Region | None = None) -> tuple[Contour, ...]:
    """Return the areas where a heat map is at a level or above, the lowest level first.

    The areas of a level lie in those of the level below, so that drawn in order the highest is on top.
    Between the centres of cells values are interpolated, beyond the outermost cells they fall to 0.

    Parameters
    ----------
    levels:
        Of the heat map's values, above 0 to 255.
    region:
        What the areas are cut to.
    """
    if not all(0 < level <= HIGHEST for level in levels):
        raise ValueError(f"levels are above 0 and at most {HIGHEST}, not {list(levels)}")
    found = []
    for level in sorted(levels):
        for valid in _filled(heat.values, level, (heat.size, heat.size), (heat.x, heat.y)):
            area = valid if region is None else polygonal(valid.intersection(region))
            found += [Contour(level, part) for part in shapely.get_parts(area) if not part.is_empty]
    return tuple(found)


def mask_areas(mask: npt.NDArray[np.bool_], width: int, height: int) -> tuple[Polygon, ...]:
    """Return the areas of a mask over a whole slide, largest first, corners at whole pixels.

    Parameters
    ----------
    mask:
        bool ``[rows, columns]``.
    width, height:
        Size of the slide in level-0 pixels.

    Returns
    -------
    Valid polygons in level-0 pixels, within the slide; they may have holes. Steps of the mask's pixels are
    smoothed away, areas and holes of less than ``LEAST_AREA`` left out.
    """
    rows, columns = mask.shape
    size = (width / columns, height / rows)
    slide, least = shapely.box(0, 0, width, height), LEAST_AREA * width * height
    found: list[Polygon] = []
    for area in _filled(mask, 0.5, size, (0, 0)):
        smooth = shapely.simplify(area, max(size), preserve_topology=True)
        parts = shapely.get_parts(on_grid(smooth, 1.0).intersection(slide))
        found += [_without_specks(part, least) for part in parts if part.area >= least]
    return tuple(sorted(found, key=lambda part: (-part.area, part.bounds)))


def _without_specks(area: Polygon, least: float) -> Polygon:
    return Polygon(area.exterior, [hole for hole in area.interiors if Polygon(hole).area >= least])


def _filled(
    values: npt.NDArray[Any], level: float, size: tuple[float, float], origin: tuple[float, float]
) -> Iterator[Region]:
    """Yield the areas of a grid that are at a level or above, by the size of its cells and its origin."""
    # A border of zeros closes every contour.
    generator = contour_generator(z=np.pad(values, 1).astype(np.float64), fill_type=FillType.OuterOffset)
    # For each outer ring: its points, then those of its holes, and where each of the rings begins.
    outer = cast("tuple[list[Float64Array], list[npt.NDArray[np.uint32]]]", generator.filled(level, math.inf))
    for points, starts in zip(*outer, strict=True):
        # The border's first centre is half a cell outside of the map.
        in_pixels = (points - 0.5) * size + origin
        shell, *holes = np.split(in_pixels, starts[1:-1])
        yield polygonal(shapely.make_valid(Polygon(shell, holes)))
