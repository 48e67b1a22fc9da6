"""Which patches an analysis is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import shapely
from shapely.geometry import MultiPoint

from dicom_io.geometry import Patch, Rect, UInt8Array
from dicom_io.slides.tissue import OVERVIEW_SIDE, TissueMap, tissue_mask
from serving.webhooks.analyses import regions
from serving.webhooks.analyses.errors import AnalysisError
from serving.webhooks.analyses.patches import BoolArray, Int64Array
from serving.webhooks.analyses.regions import Region
from serving.webhooks.embedding import LEAST_TISSUE, MOST_PLACES
from serving.webhooks.slidescore.client import SlideFacts, TileGrid
from serving.webhooks.slidescore.scale import Scale, TiledLevel, tiled_level


@dataclass(frozen=True, slots=True)
class Plan:
    """The patches of a region.

    Attributes
    ----------
    region:
        What is analysed, on the slide.
    origins:
        int64 ``[n, 2]``: (x, y) of the upper left corners, row by row.
    tissue:
        Share of the region's patches that show tissue, 0 to 1.
    """

    region: Region
    origins: Int64Array
    tissue: float


def whole(facts: SlideFacts) -> Region:
    """Return the whole slide as a region."""
    return regions.rectangle(0, 0, facts.width, facts.height)


def lattice(region: Region, facts: SlideFacts, scale: Scale) -> Int64Array:
    """Return the squares of one lattice whose centres are in a region, int64 ``[n, 2]``, row by row.

    The lattice begins at the upper left corner of the rectangle around the region, at whole pixels of the
    level that is read, and has only squares that are within this rectangle. Along an axis on which it is
    shorter than a square there is one, at its middle, moved into the slide.

    Raises
    ------
    AnalysisError
        When the region is larger than can be planned.
    """
    left, top, right, bottom = region.bounds
    columns, to_the_right = _starts(left, right, facts.width, scale)
    rows, down = _starts(top, bottom, facts.height, scale)
    if len(columns) * len(rows) > MOST_PLACES:
        raise AnalysisError(
            f"The region spans {len(columns) * len(rows)} patches; choose a smaller one, or fewer µm a pixel."
        )
    x, y = np.meshgrid(columns, rows)
    origins = np.stack([x.ravel(), y.ravel()], axis=1)
    drawn = origins - (to_the_right, down)  # at the slide's edge, a thin region has no square's centre in it
    inside = regions.centres_inside(drawn, scale.side, region)
    if not inside.any():  # a region smaller than a patch, whose middle need not be a patch's centre
        inside = _nearest(drawn, scale.side, region)
    return origins[inside]


def exemplar_origins(exemplar: Region | MultiPoint, facts: SlideFacts, scale: Scale) -> Int64Array:
    """Return the squares of an exemplar: those of a region, or one around each point."""
    if not isinstance(exemplar, MultiPoint):
        return lattice(regions.clip(exemplar, facts.width, facts.height), facts, scale)
    half = scale.side / 2
    centres = np.array([(point.x, point.y) for point in exemplar.geoms])
    on_slide = ((centres >= 0) & (centres < (facts.width, facts.height))).all(axis=1)
    if not on_slide.any():
        raise AnalysisError("The exemplar lies outside of the slide.")
    most = np.maximum(0, np.array([facts.width, facts.height]) - scale.side)
    starts: Int64Array = np.clip(np.rint(centres[on_slide] - half), 0, most).astype(np.int64)
    return starts


def overview_level(facts: SlideFacts, tiles: TileGrid) -> TiledLevel:
    """Return the level on which tissue is looked for: the largest with no side above ``OVERVIEW_SIDE``."""
    halvings = max(0, math.ceil(math.log2(max(facts.width, facts.height) / OVERVIEW_SIDE)))
    return tiled_level(facts, tiles, halvings)


def shows_tissue(origins: Int64Array, scale: Scale, overview: UInt8Array, shown: Rect, by: int) -> BoolArray:
    """Return which squares show tissue, bool ``[n]``.

    Parameters
    ----------
    overview:
        Pixels of an overview, uint8 RGB ``[height, width, 3]``.
    shown:
        What it shows, in pixels of its level.
    by:
        Level-0 pixels along one of its pixels.
    """
    mask = TissueMap(tissue_mask(overview), shown.width * by, shown.height * by)
    left, top, side = shown.x * by, shown.y * by, scale.side
    shares = (mask.share(Patch(x - left, y - top, side, side)) for x, y in origins.tolist())
    return np.fromiter((share >= LEAST_TISSUE for share in shares), bool, len(origins))


def _starts(first: float, last: float, whole_length: int, scale: Scale) -> tuple[Int64Array, int]:
    """Return where squares begin along an axis, and by how much they were moved into the slide."""
    first, last = max(0.0, first), min(float(whole_length), last)
    snapped = math.ceil(first / scale.level.shrunk) * scale.level.shrunk
    count = int((last - snapped) // scale.side)
    if count < 1:
        middle = round((first + last - scale.side) / 2)
        start = max(0, min(middle, whole_length - scale.side))
        return np.array([start], np.int64), start - middle
    return snapped + scale.side * np.arange(count, dtype=np.int64), 0


def _nearest(origins: Int64Array, side: int, region: Region) -> BoolArray:
    """Return the one square whose centre is nearest to a region."""
    centres = shapely.points(origins + side / 2)
    found: BoolArray = np.zeros(len(origins), bool)
    found[int(np.argmin(shapely.distance(centres, region)))] = True
    return found


def rectangle_around(region: Region, by: int) -> Rect:
    """Return the rectangle around a region, in pixels of ``by`` level-0 pixels, rounded outwards."""
    left, top, right, bottom = region.bounds
    x, y = math.floor(left / by), math.floor(top / by)
    return Rect(x, y, math.ceil(right / by) - x, math.ceil(bottom / by) - y)
