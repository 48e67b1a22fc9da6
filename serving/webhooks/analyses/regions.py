"""Regions of interest: shapes that people draw become geometry, and patches are found inside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import shapely
from shapely import MultiPolygon, Point, Polygon
from shapely.affinity import scale
from shapely.geometry.base import BaseGeometry

from serving.webhooks.analyses.crossings import Ring, require_few_crossings
from serving.webhooks.analyses.errors import AnalysisError
from serving.webhooks.analyses.patches import BoolArray, Int64Array

Region = Polygon | MultiPolygon
"""Valid and with an area, in level-0 pixels."""

Points = Sequence[tuple[float, float]]
"""(x, y) in level-0 pixels; a ring may be closed or open."""

_FARTHEST = 1e8
"""No slide has so many pixels along a side; with far larger numbers, areas would overflow."""

_QUARTER = 64
"""Edges of a quarter of an ellipse; it loses 0.01 % of its area."""


def rectangle(x: float, y: float, width: float, height: float) -> Region:
    """Return a rectangle by a corner and its size; a negative size reaches to the left, or up.

    Raises
    ------
    AnalysisError
        As all shapes do: when a number is not finite, or there is no area.
    """
    _require_finite([x, y, width, height])
    (left, right), (top, bottom) = sorted((x, x + width)), sorted((y, y + height))
    return _region([shapely.box(left, top, right, bottom)])


def polygon(points: Points) -> Region:
    """Return all that a line encloses, where it crosses itself, too: both halves of an eight."""
    return _region(_enclosed([points]))


def ellipse(x: float, y: float, semi_x: float, semi_y: float) -> Region:
    """Return an ellipse by its centre and its semi-axes."""
    _require_finite([x, y, semi_x, semi_y])
    circle = Point(x, y).buffer(1, quad_segs=_QUARTER)
    return _region([scale(circle, abs(semi_x), abs(semi_y), origin=(x, y))])


def brush(painted: Iterable[Points], erased: Iterable[Points] = ()) -> Region:
    """Return what was painted and not erased, whatever was done first."""
    strokes = list(painted)
    shapes = _enclosed([*strokes, *erased])
    kept, gone = shapes[: len(strokes)], shapes[len(strokes) :]
    return _region([shapely.union_all(kept).difference(shapely.union_all(gone))])


def union(regions: Iterable[Region]) -> Region:
    """Return all of several regions that people drew."""
    drawn = list(regions)
    if len(drawn) > 1:
        polygons = shapely.get_parts(drawn)
        require_few_crossings([shapely.get_coordinates(ring) for ring in shapely.get_rings(polygons)])
    return _region(drawn)


def squares(origins: Int64Array, side: float) -> Region:
    """Return the area of squares, such as patches; of any number, unlike a union of drawn regions.

    Parameters
    ----------
    origins:
        int64 ``[n, 2]``: (x, y) of the upper left corners in level-0 pixels.
    """
    left, top = origins.T
    return _region(shapely.box(left, top, left + side, top + side))


def clip(region: Region, width: int, height: int) -> Region:
    """Return the part of a region that is on a slide of ``width`` x ``height`` level-0 pixels.

    Raises
    ------
    AnalysisError
        When there is none.
    """
    inside = polygonal(region.intersection(shapely.box(0, 0, width, height)))
    if inside.is_empty:
        raise AnalysisError(
            f"The region lies outside of the slide of {width}x{height} pixels; draw it on the tissue."
        )
    return inside


def centres_inside(origins: Int64Array, side: float, region: Region) -> BoolArray:
    """Return which patches have their centre in a region.

    Parameters
    ----------
    origins:
        int64 ``[n, 2]``: (x, y) of the patches' upper left corners in level-0 pixels.
    side:
        Of a patch, in level-0 pixels.

    Returns
    -------
    bool ``[n]``
    """
    centres = origins + side / 2
    # Prepared, the same question is asked of each edge once: 50,000 patches and 1,000 edges take 10 ms.
    shapely.prepare(region)
    return np.asarray(shapely.contains_xy(region, centres[:, 0], centres[:, 1]), np.bool_)


def moved_into(points: Int64Array, region: Region) -> Int64Array:
    """Return points with those beyond a region moved to its nearest pixel.

    Parameters
    ----------
    points:
        int64 ``[n, 2]``: (x, y) in level-0 pixels.

    Returns
    -------
    int64 ``[n, 2]``; after rounding, a moved one may lie less than a pixel beyond.
    """
    shapely.prepare(region)
    beyond = ~shapely.intersects_xy(region, points[:, 0], points[:, 1])
    lines = shapely.shortest_line(region, shapely.points(points[beyond]))
    moved = points.copy()
    moved[beyond] = np.rint(shapely.get_coordinates(lines)[::2]).astype(np.int64)
    return moved


def on_grid(geometry: BaseGeometry, step: float) -> Region:
    """Return a geometry with its corners at multiples of ``step``, less the parts that lose their area.

    It is valid still, which it might not be if each corner were rounded by itself.
    """
    # GEOS divides by lengths of nothing on its way, of which numpy would warn.
    with np.errstate(all="ignore"):
        return polygonal(shapely.set_precision(geometry, step))


def polygonal(geometry: BaseGeometry) -> Region:
    """Return the parts of a geometry that have an area; an empty polygon where none has."""
    parts = [part for part in shapely.get_parts(geometry, return_index=False) if part.area > 0]
    flat = [
        inner
        for part in parts
        for inner in shapely.get_parts(part)
        if isinstance(inner, Polygon) and inner.area > 0
    ]
    return flat[0] if len(flat) == 1 else MultiPolygon(flat) if flat else Polygon()


def _enclosed(lines: Sequence[Points]) -> list[BaseGeometry]:
    """Return what each of the lines encloses."""
    rings = [_ring(points) for points in lines]
    # One that crosses nothing is made in no time, however many points it has.
    if len(rings) > 1 or not all(Polygon(ring).is_valid for ring in rings):
        rings = require_few_crossings(rings)
    # Of a line that winds round twice, the default method takes the inside for outside (even-odd).
    return [shapely.make_valid(Polygon(ring), method="structure", keep_collapsed=False) for ring in rings]


def _ring(points: Points) -> Ring:
    _require_finite(value for point in points for value in point)
    if len(points) < 3:
        raise AnalysisError(f"A region of {len(points)} points has no area; draw one of three or more.")
    return np.array([*points, points[0]], np.float64)


def _region(shapes: Iterable[BaseGeometry]) -> Region:
    whole = polygonal(shapely.union_all(list(shapes)))
    if whole.is_empty:
        raise AnalysisError("The region has no area; draw it anew.")
    return whole


def _require_finite(numbers: Iterable[float]) -> None:
    if not all(abs(number) <= _FARTHEST for number in numbers):  # NaN is not, either
        raise AnalysisError("The region has a coordinate that is not a number on a slide; draw it anew.")
