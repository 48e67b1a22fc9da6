"""What Slide Score shows, and the rules that each result is held to before it leaves.

Sources: Slide Score's page on external analyses, and its SDK. Coordinates are level-0 pixels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry import Polygon

from serving.webhooks.analyses.areas import without_holes
from serving.webhooks.analyses.heatmap import HeatMap
from serving.webhooks.analyses.regions import Region

COLORMAPS = frozenset({"Turbo", "Viridis", "Inferno", "Magma", "Plasma", "Jet", "Greys"})
"""Names of colormaps, for heat maps; ``Turbo`` is the vendor's own example."""

_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")
_TOLERANCE = 1.5
"""Pixels by which a result may lie outside of the region: polygons are of whole pixels, and diagonals of one
pixel are 1.41 long."""

Result = dict[str, object]


class InvalidResult(Exception):
    """A result that Slide Score could not show: a fault of this service, never of its caller."""


@dataclass(frozen=True, slots=True)
class Builder:
    """Makes results for one region.

    Attributes
    ----------
    region:
        Where everything has to lie.
    """

    region: Region

    def polygons(self, name: str, polygons: Sequence[Polygon], colour: str) -> Result:
        """Return polygons, closed and without holes: Slide Score's ``polygon`` would show them filled.

        Raises
        ------
        InvalidResult
        """
        rings = [np.asarray(one.exterior.coords) for one in without_holes(polygons)]
        for ring in rings:
            if len(ring) < 4 or not np.array_equal(ring[0], ring[-1]) or not Polygon(ring).area > 0:
                raise InvalidResult("a polygon is not closed, or has no area")
        self._require_inside(rings)
        value = [{"type": "polygon", "points": _points(ring)} for ring in rings]
        return {"type": "polygons", "name": name, "value": value, "color": _hex(colour)}

    def points(self, name: str, points: npt.NDArray[np.int64], colour: str) -> Result:
        """Return points, ``[n, 2]``.

        Raises
        ------
        InvalidResult
        """
        self._require_inside([np.asarray(points, np.float64).reshape(-1, 2)])
        return {"type": "points", "name": name, "value": _points(points), "color": _hex(colour)}

    def can_show(self, heat: HeatMap) -> bool:
        """Return whether a heat map lies within the rectangle around the region."""
        left, top, right, bottom = self.region.bounds
        return (
            heat.x >= left - _TOLERANCE
            and heat.y >= top - _TOLERANCE
            and heat.x + heat.width <= right + _TOLERANCE
            and heat.y + heat.height <= bottom + _TOLERANCE
        )

    def checked(self, heat: HeatMap) -> HeatMap:
        """Return a heat map that can be uploaded.

        Raises
        ------
        InvalidResult
            When it is empty, not of bytes, or reaches beyond the rectangle around the region.
        """
        values = heat.values
        if values.ndim != 2 or values.dtype != np.uint8 or values.size == 0 or heat.size < 1:
            raise InvalidResult("a heat map is empty, or not a rectangle of bytes")
        # Slide Score divides: sizePerPixel = round(height / rows).
        if round(heat.height / len(values)) != heat.size or not self.can_show(heat):
            raise InvalidResult("a heat map is not where its region is")
        return heat

    def _require_inside(self, rings: Sequence[npt.NDArray[np.float64]]) -> None:
        if not rings:
            return
        places = np.concatenate(rings)
        if not np.isfinite(places).all():
            raise InvalidResult("a coordinate is not finite")
        around = self.region.buffer(_TOLERANCE)
        shapely.prepare(around)
        if not shapely.intersects_xy(around, places[:, 0], places[:, 1]).all():
            raise InvalidResult("a result lies outside of its region")


def anno2(name: str, uuid: str, colour: str) -> Result:
    """Return a result that has been uploaded, in a colormap or a colour."""
    if not uuid:
        raise InvalidResult("an upload has no UUID")
    return {
        "type": "anno2",
        "name": name,
        "value": uuid,
        "color": colour if colour in COLORMAPS else _hex(colour),
    }


def text(name: str, value: str) -> Result:
    """Return what is shown as it is."""
    return {"type": "text", "name": name, "value": value}


def failure(message: str) -> list[Result]:
    """Return what a user sees of an analysis that could not be made."""
    return [text("Analysis failed", message)]


def _points(places: npt.NDArray[np.float64] | npt.NDArray[np.int64]) -> list[dict[str, int | float]]:
    return [{"x": _plain(x), "y": _plain(y)} for x, y in places.tolist()]


def _plain(value: float) -> int | float:
    if not math.isfinite(value):
        raise InvalidResult("a coordinate is not finite")
    return int(value) if float(value).is_integer() else round(value, 2)


def _hex(colour: str) -> str:
    if not _COLOUR.fullmatch(colour):
        raise InvalidResult("a colour is not #RRGGBB")
    return colour.upper()
