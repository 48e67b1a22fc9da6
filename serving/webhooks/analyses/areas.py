"""Patches of one kind as an area: the outline of their cells, with a name and a colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shapely import Polygon
from shapely.geometry.base import BaseGeometry

from serving.webhooks.analyses.patches import BoolArray, Int64Array, Patches


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


def outline(patches: Patches, chosen: BoolArray, region: BaseGeometry | None = None) -> tuple[Polygon, ...]:
    """Return the exact outline of the chosen patches' cells, cut to a region.

    Parameters
    ----------
    chosen:
        bool ``[n]``.
    region:
        Where patches reach beyond it, the polygons do not, but for the rounding to whole pixels.
    """
    raise NotImplementedError


def areas(
    patches: Patches,
    labels: Int64Array,
    legend: Sequence[tuple[str, str]],
    region: BaseGeometry | None = None,
) -> tuple[Area, ...]:
    """Return the area of each label, their common borders smoothed without a gap or an overlap.

    Parameters
    ----------
    labels:
        int64 ``[n]``, each an index of ``legend``.
    legend:
        Name and colour of each label. A label without a patch has an area without polygons.
    """
    raise NotImplementedError


def without_holes(polygons: Sequence[Polygon]) -> tuple[Polygon, ...]:
    """Return the same area in polygons without holes, for viewers that fill whatever is inside of a ring."""
    raise NotImplementedError
