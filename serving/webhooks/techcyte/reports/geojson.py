"""Annotations: the part of GeoJSON that Techcyte takes (RFC 7946, but in pixels, y down)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

import shapely
from pydantic import Field, JsonValue, model_validator

from serving.webhooks.analyses.colours import is_colour
from serving.webhooks.techcyte.reports.values import Free, Number, Record

Position = Annotated[list[Number], Field(min_length=2, max_length=2)]
Ring = list[Position]


class Polygon(Record):
    """An outer ring and holes; a ring may be open, ``prepare`` closes it."""

    type: Literal["Polygon"] = "Polygon"
    coordinates: Annotated[list[Ring], Field(min_length=1)]


class MultiPolygon(Record):
    """Several polygons; ``prepare`` makes a feature of each, as Techcyte knows no such geometry."""

    type: Literal["MultiPolygon"] = "MultiPolygon"
    coordinates: Annotated[list[Annotated[list[Ring], Field(min_length=1)]], Field(min_length=1)]


class MultiPoint(Record):
    """Places of cells or objects."""

    type: Literal["MultiPoint"] = "MultiPoint"
    coordinates: list[Position]


class GeometryCollection(Record):
    """Contours of a heat map, each with a colour in the feature's ``contour_colors``."""

    type: Literal["GeometryCollection"] = "GeometryCollection"
    geometries: list[Polygon]


Geometry = Annotated[Polygon | MultiPolygon | MultiPoint | GeometryCollection, Field(discriminator="type")]


class Feature(Record):
    """An annotation.

    Attributes
    ----------
    properties:
        ``annotation_type`` (a text) where the feature stands in a scan's ``geojson``; ``name`` and ``color``
        in a segment; ``contour_colors`` of a heat map. More is passed on.
    bbox:
        Computed anew by ``prepare``.
    """

    type: Literal["Feature"] = "Feature"
    geometry: Geometry
    properties: Free
    bbox: list[Number] | None = None

    @model_validator(mode="before")
    @classmethod
    def _with_colours_spelt_right(cls, data: Any) -> Any:
        """Take ``countour_colors``, as the page has it in its text, for ``contour_colors``."""
        properties = data.get("properties") if isinstance(data, Mapping) else None
        if not isinstance(properties, Mapping) or "countour_colors" not in properties:
            return data
        named = {
            "contour_colors" if name == "countour_colors" else name: one for name, one in properties.items()
        }
        return {**data, "properties": named}

    @model_validator(mode="after")
    def _with_a_colour_a_contour(self) -> Feature:
        for name in ("color", "contour_colors"):
            if name in self.properties:
                _require_colours(name, self.properties[name])
        if isinstance(self.geometry, GeometryCollection):
            colours = self.properties.get("contour_colors")
            count = len(colours) if isinstance(colours, list) else 0
            if count != len(self.geometry.geometries):
                raise ValueError(
                    f"contour_colors has {count} colours for {len(self.geometry.geometries)} geometries"
                )
        return self


def _require_colours(name: str, found: JsonValue) -> None:
    colours = found if name == "contour_colors" else [found]
    if not isinstance(colours, list) or not all(isinstance(one, str) and is_colour(one) for one in colours):
        raise ValueError(f"{name} should be {'a list of ' if name == 'contour_colors' else ''}#RRGGBB")


class FeatureCollection(Record):
    """Annotations of a scan, or of a segment."""

    type: Literal["FeatureCollection"] = "FeatureCollection"
    features: list[Feature]


def polygon_features(
    polygons: Iterable[shapely.Polygon], properties: Mapping[str, JsonValue]
) -> list[Feature]:
    """Return a feature for each polygon, all with the same properties."""
    return [Feature(geometry=polygon_of(polygon), properties=dict(properties)) for polygon in polygons]


def heat_map_feature(contours: Sequence[tuple[shapely.Polygon, str]], annotation_type: str) -> Feature:
    """Return a heat map: contours with their colours (``#RRGGBB``), the lowest first."""
    return Feature(
        geometry=GeometryCollection(geometries=[polygon_of(polygon) for polygon, _ in contours]),
        properties={
            "annotation_type": annotation_type,
            "contour_colors": [colour for _, colour in contours],
        },
    )


def polygon_of(polygon: shapely.Polygon) -> Polygon:
    """Return a polygon as GeoJSON; whole numbers are written as such."""
    rings = [polygon.exterior, *polygon.interiors]
    return Polygon(coordinates=[[[_plain(x), _plain(y)] for x, y, *_ in ring.coords] for ring in rings])


def _plain(value: float) -> int | float:
    return int(value) if value.is_integer() else value
