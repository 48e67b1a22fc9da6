"""What is mended in annotations before they are sent: rings, zero areas, what is off the slide, boxes.

Nothing is guessed: what is open is closed, what has no area or is not on the slide is left out, and boxes are
computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import shapely

from serving.webhooks.analyses.regions import on_grid, polygonal
from serving.webhooks.techcyte.reports.geojson import (
    Feature,
    Geometry,
    GeometryCollection,
    MultiPoint,
    MultiPolygon,
    Polygon,
    Ring,
    polygon_of,
)
from serving.webhooks.techcyte.reports.values import Free
from serving.webhooks.techcyte.reports.workflows import BoundingBox, ScoredPoint, TypedPoint

_LEAST_POSITIONS = 4
"""Of a ring, with the first repeated at the end (RFC 7946, 3.1.6)."""

_FINEST = 1 / 1024
"""Of a pixel: to what corners are rounded that lie on the border of a slide."""


@dataclass(frozen=True, slots=True)
class SlideSize:
    """Pixels of a slide's largest level."""

    width: int
    height: int

    def has(self, x: float, y: float) -> bool:
        """Return whether a place is on the slide or on its border."""
        return 0 <= x <= self.width and 0 <= y <= self.height


def mended_feature(feature: Feature, slide: SlideSize | None) -> list[Feature]:
    """Return a feature as it can be sent: of several polygons one each, none where nothing is left."""
    return [
        Feature(geometry=geometry, properties=properties, bbox=_bounds(geometry))
        for geometry, properties in _parts(feature, slide)
    ]


def _parts(feature: Feature, slide: SlideSize | None) -> list[tuple[Geometry, Free]]:
    geometry, properties = feature.geometry, feature.properties
    match geometry:
        case Polygon():
            return [(part, properties) for part in mended_polygon(geometry, slide)]
        case MultiPolygon():
            polygons = [Polygon(coordinates=rings) for rings in geometry.coordinates]
            return [(part, properties) for polygon in polygons for part in mended_polygon(polygon, slide)]
        case MultiPoint():
            places = [place for place in geometry.coordinates if slide is None or slide.has(*place)]
            return [(MultiPoint(coordinates=places), properties)] if places else []
        case GeometryCollection():
            colours = properties["contour_colors"]
            assert isinstance(colours, list), "the feature holds it to the geometries"
            parts = [
                (part, colour)
                for polygon, colour in zip(geometry.geometries, colours, strict=True)
                for part in mended_polygon(polygon, slide)
            ]
            collection = GeometryCollection(geometries=[part for part, _ in parts])
            return (
                [(collection, {**properties, "contour_colors": [one for _, one in parts]})] if parts else []
            )


def mended_polygon(polygon: Polygon, slide: SlideSize | None) -> list[Polygon]:
    """Return a polygon with closed rings, on the slide; several where the slide's border parts it.

    Rings that turn either way, and such that cross themselves, are left as they are: Techcyte takes them.
    """
    shell, *holes = (_closed(ring) for ring in polygon.coordinates)
    if not _has_area(shell):
        return []
    kept = [shell, *(hole for hole in holes if _has_area(hole))]
    if slide is None or all(slide.has(x, y) for x, y in shell):
        return [Polygon(coordinates=kept)]
    drawn = shapely.make_valid(shapely.Polygon(kept[0], kept[1:]))
    on_slide = drawn.intersection(shapely.box(0, 0, slide.width, slide.height))
    # Places where edges cross the border are rounded, so that none is a breath beyond it.
    return [polygon_of(part) for part in shapely.get_parts(on_grid(on_slide, _FINEST)) if not part.is_empty]


def _closed(ring: Ring) -> Ring:
    return ring if ring and ring[0] == ring[-1] else [*ring, *ring[:1]]


def _has_area(ring: Ring) -> bool:
    # The area of one that crosses itself is that of its parts: of an eight, they would cancel each other out.
    return len(ring) >= _LEAST_POSITIONS and polygonal(shapely.make_valid(shapely.Polygon(ring))).area > 0


def _bounds(geometry: Geometry) -> list[int | float]:
    """Return left, top, right and bottom; Techcyte computes them of polygons only."""
    match geometry:
        case MultiPoint():
            places = geometry.coordinates
        case GeometryCollection():
            places = [place for polygon in geometry.geometries for place in polygon.coordinates[0]]
        case MultiPolygon():
            places = [place for rings in geometry.coordinates for place in rings[0]]
        case Polygon():
            places = geometry.coordinates[0]
    xs, ys = [x for x, _ in places], [y for _, y in places]
    return [min(xs), min(ys), max(xs), max(ys)]


def points_on(
    points: Sequence[ScoredPoint] | Sequence[TypedPoint], slide: SlideSize | None
) -> list[ScoredPoint | TypedPoint]:
    """Return the points that are on the slide."""
    return [point for point in points if slide is None or slide.has(point.x, point.y)]


def boxes_on(boxes: Iterable[BoundingBox], slide: SlideSize | None) -> list[BoundingBox]:
    """Return the parts of boxes that are on the slide; those without an area are left out."""
    cut = [box if slide is None else _cut(box, slide) for box in boxes]
    return [box for box in cut if box is not None and box.width > 0 and box.height > 0]


def _cut(box: BoundingBox, slide: SlideSize) -> BoundingBox | None:
    left, top = max(0, box.x), max(0, box.y)
    right, bottom = min(slide.width, box.x + box.width), min(slide.height, box.y + box.height)
    if left >= right or top >= bottom:
        return None
    return BoundingBox(x=left, y=top, width=right - left, height=bottom - top)
