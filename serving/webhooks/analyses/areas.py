"""Patches of one kind as an area: the outline of their cells, with a name and a colour."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from shapely import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from serving.webhooks.analyses.patches import BoolArray, Int64Array, Patches
from serving.webhooks.analyses.regions import Region, on_grid, polygonal


@dataclass(frozen=True, slots=True)
class Area:
    """What a legend has a line for.

    Attributes
    ----------
    name:
        For a person to read.
    colour:
        ``#RRGGBB``.
    polygons:
        Valid, of whole level-0 pixels, largest first; they may have holes, see ``without_holes``.
    patches:
        How many patches it is made of.
    share:
        Share of all patches, 0 to 1.
    """

    name: str
    colour: str
    polygons: tuple[Polygon, ...]
    patches: int
    share: float


def outline(patches: Patches, chosen: BoolArray, region: Region | None = None) -> tuple[Polygon, ...]:
    """Return the outline of the chosen patches' cells, cut to a region.

    Parameters
    ----------
    chosen:
        bool ``[n]``.
    region:
        What the polygons are cut to, as patches at its border reach beyond it.
    """
    return _cut_to(_coverage(patches, [chosen])[0], region)


def areas(
    patches: Patches,
    labels: Int64Array,
    legend: Sequence[tuple[str, str]],
    region: Region | None = None,
) -> tuple[Area, ...]:
    """Return the area of each label; they neither overlap nor leave a gap.

    Parameters
    ----------
    labels:
        int64 ``[n]``, each an index of ``legend``.
    legend:
        Name and colour of each label. A label without a patch has an area without a polygon.
    region:
        What the polygons are cut to, as patches at its border reach beyond it.
    """
    chosen = [labels == label for label in range(len(legend))]
    found = zip(legend, chosen, _coverage(patches, chosen), strict=True)
    return tuple(
        Area(name, colour, _cut_to(whole, region), int(mine.sum()), float(mine.mean()))
        for (name, colour), mine, whole in found
    )


def without_holes(polygons: Iterable[Polygon]) -> tuple[Polygon, ...]:
    """Return the same area in polygons without holes, for viewers that fill all that a ring encloses."""
    waiting, done = list(polygons), []
    while waiting:
        polygon = waiting.pop()
        if not polygon.interiors:
            done.append(polygon)
            continue
        left, top, right, bottom = polygon.bounds
        # Through the middle hole, across the longer side: as few and as compact pieces as a cut can give.
        if right - left >= bottom - top:
            at = _middle(sorted((hole.bounds[0], hole.bounds[2]) for hole in polygon.interiors))
            halves = shapely.box(left, top, at, bottom), shapely.box(at, top, right, bottom)
        else:
            at = _middle(sorted((hole.bounds[1], hole.bounds[3]) for hole in polygon.interiors))
            halves = shapely.box(left, top, right, at), shapely.box(left, at, right, bottom)
        for half in halves:
            waiting.extend(_parts(polygonal(polygon.intersection(half))))
    return _by_size(done)


def _middle(spans: Sequence[tuple[float, float]]) -> float:
    """Return where to cut through the middle of spans: a whole pixel, if one lies inside."""
    low, high = spans[len(spans) // 2]
    whole = float((low + high) // 2)
    return whole if low < whole < high else (low + high) / 2


def _coverage(patches: Patches, groups: Sequence[BoolArray]) -> list[BaseGeometry]:
    columns, rows = patches.edges
    column, row = patches.cells.T
    cells = shapely.box(columns[column], rows[row], columns[column + 1], rows[row + 1])
    # Cells share their edges to the pixel, so that a union needs no overlay: 130 ms for 21,696 cells. What is
    # then left out lies on straight lines: a corner of a patch is never smoothed away, so that no gap opens.
    unions = [shapely.coverage_union_all(cells[group]) for group in groups]
    return [shapely.simplify(union, 0, preserve_topology=False) for union in unions]


def _cut_to(area: BaseGeometry, region: Region | None) -> tuple[Polygon, ...]:
    parts = np.array(_parts(polygonal(area)), object)
    if region is None or not len(parts):
        return _by_size(parts)
    shapely.prepare(region)
    inside = shapely.covers(region, parts)
    beyond = MultiPolygon(list(parts[~inside])).intersection(region)
    return _by_size([*parts[inside], *_parts(on_grid(beyond, 1.0))])  # viewers take whole pixels


def _parts(region: Region) -> list[Polygon]:
    return [part for part in shapely.get_parts(region) if not part.is_empty]


def _by_size(polygons: Iterable[Polygon]) -> tuple[Polygon, ...]:
    """Return polygons in one order and form, whatever they were made from: by size, then by place."""
    found = shapely.get_parts(shapely.normalize(list(polygons)))
    return tuple(sorted(found, key=lambda polygon: (-polygon.area, polygon.bounds)))
