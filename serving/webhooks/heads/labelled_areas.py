"""Labels as areas that were drawn: GeoJSON, as QuPath exports it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from pydantic_core import from_json
from shapely.geometry import shape

from serving.heads.head import HeadError
from serving.webhooks.analyses.regions import Region, centres_inside, polygonal
from serving.webhooks.heads.vectors import SlideVectors


@dataclass(frozen=True, slots=True)
class LabelledAreas:
    """Areas of classes, in level-0 pixels."""

    path: Path
    areas: Mapping[str, Region]
    colours: Mapping[str, str]

    def are_of(self, slide: SlideVectors) -> bool:
        return self.path.name in slide.names or self.path.stem in slide.names

    def of(self, slide: SlideVectors) -> list[str | None]:
        names = list(self.areas)
        inside = np.stack(
            [centres_inside(slide.origins, slide.side, area) for area in self.areas.values()], axis=1
        )
        # A patch in the areas of two classes says nothing about either.
        sole = inside.sum(axis=1) == 1
        return [names[which] if one else None for which, one in zip(inside.argmax(axis=1), sole, strict=True)]


def read_areas(path: Path, data: bytes) -> LabelledAreas:
    """Read a collection of features, a list of them, or one; those without a classification are left out.

    Raises
    ------
    HeadError
        When it is no GeoJSON, or has no area with a classification.
    """
    try:
        found = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise HeadError(f"{path} is not GeoJSON: {error}.") from error
    shapes: dict[str, list[Region]] = {}
    colours: dict[str, str] = {}
    for number, feature in enumerate(_features(found, path)):
        classification = _object(_object(feature, "properties"), "classification")
        name = classification.get("name")
        # QuPath ends the names of classes that it is to ignore with a star.
        if not isinstance(name, str) or not name.strip() or name.endswith("*"):
            continue
        area = _area(feature.get("geometry"), path, number)
        if not area.is_empty:
            shapes.setdefault(name, []).append(area)
            colour = _colour(classification)
            if colour is not None:
                colours.setdefault(name, colour)
    if not shapes:
        raise HeadError(f"{path} has no area with a classification; set each annotation's class in QuPath.")
    return LabelledAreas(
        path, {name: polygonal(shapely.union_all(mine)) for name, mine in shapes.items()}, colours
    )


def _features(found: object, path: Path) -> Sequence[Mapping[str, Any]]:
    """Return the features of a collection, of a list, or of a file with one."""
    if isinstance(found, dict):
        found = found.get("features") if found.get("type") == "FeatureCollection" else [found]
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise HeadError(f"{path} is not GeoJSON: it has no list of features.")
    return found


def _object(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = found.get(name)
    return value if isinstance(value, dict) else {}


def _area(geometry: Any, path: Path, number: int) -> Region:
    try:
        found = shape(geometry)
        return polygonal(shapely.make_valid(found, method="structure", keep_collapsed=False))
    except Exception as error:  # shapely raises anything, from KeyError to GEOSException
        raise HeadError(
            f"{path} is not GeoJSON: feature {number} has no geometry that can be read."
        ) from error


def _colour(classification: Mapping[str, Any]) -> str | None:
    """Return QuPath's colour: a list of three numbers, or, of old versions, a packed one."""
    found = classification.get("color")
    packed = classification.get("colorRGB")
    if isinstance(packed, int):
        found = [(packed >> shift) & 0xFF for shift in (16, 8, 0)]
    if not isinstance(found, list) or len(found) != 3:
        return None
    if not all(isinstance(one, int) and 0 <= one <= 255 for one in found):
        return None
    return "#" + "".join(f"{one:02X}" for one in found)
