"""What a user has answered: regions, points and choices, which Slide Score sends as texts.

An annotation is JSON inside of a string: ``'[{"corner": {"x", "y"}, "size": {"x", "y"}}]'`` and so on.
Numbers may be in quotes, and a region that was not drawn has ``null`` coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import orjson
from shapely.geometry import MultiPoint, mapping, shape

from dicom_io.json_size import unfolds_beyond
from serving.api.fields import bad, is_object, kind
from serving.webhooks.analyses import regions
from serving.webhooks.analyses.errors import AnalysisError
from serving.webhooks.analyses.regions import Region

MAX_VERTICES = 50_000
"""Of all shapes of one answer."""

_FARTHEST = float(1 << 26)
_MAX_CONTAINERS = 2 * MAX_VERTICES


class Answers:
    """The answers of a request, by name; upper and lower case are the same.

    Raises
    ------
    ServiceError
        INVALID_REQUEST_FIELD_ERROR when they are not a list of names and values.
    """

    def __init__(self, answers: object) -> None:
        if answers is None:
            answers = []
        if not isinstance(answers, list):
            raise bad(f"answers must be a list of objects with a name and a value, not {kind(answers)}.")
        self._values: dict[str, object] = {}
        for answer in answers:
            name = answer.get("name") if is_object(answer) else None
            if not is_object(answer) or not isinstance(name, str):
                raise bad("answers must be a list of objects with a name and a value.")
            self._values.setdefault(name.strip().lower(), answer.get("value"))

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._values

    def text(self, name: str) -> str | None:
        """Return an answer as text, stripped; ``None`` where there is none."""
        value = self._values.get(name.lower())
        if value is None or isinstance(value, (dict, list)):
            return None
        return str(value).strip() or None

    def region(self, name: str) -> Region | None:
        """Return the union of the shapes of an answer, in level-0 pixels.

        Returns
        -------
        ``None`` where the question was not asked.

        Raises
        ------
        ServiceError
            INVALID_REQUEST_FIELD_ERROR when nothing was drawn, what was drawn has no area, or it lies to the
            left of every slide or above.
        """
        if name not in self:
            return None
        try:
            found = regions.union(_shapes(name, self._values[name.lower()]))
        except AnalysisError as error:
            raise bad(f"{name}: {error}") from error
        if found.bounds[2] <= 0 or found.bounds[3] <= 0:
            raise bad(f"{name} lies outside of the slide; draw it on the tissue.")
        return found

    def region_or_points(self, name: str) -> Region | MultiPoint | None:
        """Return the same of an answer that may be points instead: then a ``MultiPoint``."""
        if name not in self:
            return None
        items = _items(name, self._values[name.lower()])
        if items and all("type" not in item and "x" in item for item in items):
            return MultiPoint([_point(item, name) for item in items])
        return self.region(name)


def _shapes(name: str, value: object) -> list[Region]:
    shapes = []
    for item in _items(name, value):
        if _was_not_drawn(item):
            continue
        of = item.get("type") or "rect"
        make = _AREAS.get(of.lower()) if isinstance(of, str) else None
        if make is None:
            raise bad(f"{name} holds a shape that is none of {', '.join(_AREAS)}; draw one of these.")
        shapes.append(make(item, name))
    if not shapes:
        raise bad(f"{name} is empty; draw a region, or take the question out to analyse the whole slide.")
    return shapes


def _items(name: str, value: object) -> list[Mapping[str, object]]:
    """Return the shapes of an answer, parsed."""
    if isinstance(value, str):
        text = value.encode("utf-8", "replace")
        if unfolds_beyond(text, _MAX_CONTAINERS):
            raise bad(f"{name} has too many vertices; at most {MAX_VERTICES} are read.")
        try:
            value = orjson.loads(text) if text.strip() else []
        except orjson.JSONDecodeError as error:
            raise bad(f"{name} is not JSON of shapes; NaN and Infinity are not, either.") from error
    if is_object(value):
        value = [value]
    if value is None:
        value = []
    if not isinstance(value, list) or not all(is_object(item) for item in value):
        raise bad(f"{name} must be a list of shapes.")
    return cast("list[Mapping[str, object]]", value)


def _was_not_drawn(item: Mapping[str, object]) -> bool:
    corner = item.get("corner")
    return is_object(corner) and corner.get("x") is None and corner.get("y") is None


def _rectangle(item: Mapping[str, object], name: str) -> Region:
    x, y = _point(item.get("corner"), name)
    width, height = _point(item.get("size"), name)
    return regions.rectangle(x, y, width, height)


def _polygon(item: Mapping[str, object], name: str) -> Region:
    return regions.polygon(_ring(item.get("points"), name))


def _ellipse(item: Mapping[str, object], name: str) -> Region:
    x, y = _point(item.get("center"), name)
    semi_x, semi_y = _point(item.get("size"), name)
    return regions.ellipse(x, y, semi_x, semi_y)


def _brush(item: Mapping[str, object], name: str) -> Region:
    painted, erased = (_rings(item.get(key), name) for key in ("positivePolygons", "negativePolygons"))
    return regions.brush(painted, erased)


_AREAS: Mapping[str, Callable[[Mapping[str, object], str], Region]] = {
    "rect": _rectangle,
    "polygon": _polygon,
    "ellipse": _ellipse,
    "brush": _brush,
}


def _rings(value: object, name: str) -> list[Sequence[tuple[float, float]]]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise bad(f"{name} holds a brush whose polygons are not lists.")
    return [_ring(ring, name) for ring in value]


def _ring(value: object, name: str) -> Sequence[tuple[float, float]]:
    if not isinstance(value, list) or len(value) < 3:
        raise bad(f"{name} holds a polygon of fewer than 3 points.")
    if len(value) > MAX_VERTICES:
        raise bad(f"{name} has too many vertices; at most {MAX_VERTICES} are read.")
    return [_point(point, name) for point in value]


def _point(value: object, name: str) -> tuple[float, float]:
    if not is_object(value):
        raise bad(f"{name} holds a shape without its points.")
    return _number(value.get("x"), name), _number(value.get("y"), name)


def _number(value: object, name: str) -> float:
    number = as_number(value)
    if number is None or abs(number) > _FARTHEST:
        raise bad(f"{name} holds a coordinate that is not a number of pixels.")
    return number


def as_number(value: object) -> float | None:
    """Return a number, or a text of one, as float; ``None`` for anything else, NaN and infinity included."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value.replace(",", ".") if isinstance(value, str) else value)
    except (ValueError, OverflowError):  # a whole number of 400 digits
        return None
    return number if math.isfinite(number) else None


def as_json(region: Region | MultiPoint) -> object:
    """Return a region as GeoJSON, for a job's payload."""
    return mapping(region)


def from_json(document: object) -> Region | MultiPoint:
    """Return what ``as_json`` was given."""
    return cast("Region | MultiPoint", shape(cast("dict[str, Any]", document)))
