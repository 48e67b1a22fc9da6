"""Regions of interest: shapes that people draw become geometry, and patches are found inside."""

from __future__ import annotations

from collections.abc import Sequence

from shapely.geometry.base import BaseGeometry

from serving.webhooks.analyses.patches import BoolArray, Int64Array

Points = Sequence[tuple[float, float]]
"""(x, y) in level-0 pixels; a ring may be closed or open."""


def rectangle(x: float, y: float, width: float, height: float) -> BaseGeometry:
    """Return a rectangle by its upper left corner and its size; negative sizes reach left and up."""
    raise NotImplementedError


def polygon(points: Points) -> BaseGeometry:
    """Return what a ring encloses; of one that crosses itself every part (even-odd rule)."""
    raise NotImplementedError


def ellipse(x: float, y: float, semi_x: float, semi_y: float) -> BaseGeometry:
    """Return an ellipse by its centre and its semi-axes, as a polygon that is less than 0.1 % smaller."""
    raise NotImplementedError


def brush(painted: Sequence[Points], erased: Sequence[Points] = ()) -> BaseGeometry:
    """Return what was painted and not erased."""
    raise NotImplementedError


def union(shapes: Sequence[BaseGeometry]) -> BaseGeometry:
    """Return all of several regions."""
    raise NotImplementedError


def clip(region: BaseGeometry, width: int, height: int) -> BaseGeometry:
    """Return the part of a region that is on a slide of ``width`` x ``height`` level-0 pixels.

    Raises
    ------
    AnalysisError
        When there is none: the region is outside of the slide, or has no area.
    """
    raise NotImplementedError


def centres_inside(origins: Int64Array, side: float, region: BaseGeometry) -> BoolArray:
    """Return which patches have their centre in a region, bool ``[n]``.

    Parameters
    ----------
    origins:
        int64 ``[n, 2]``: (x, y) of the patches' upper left corners.
    """
    raise NotImplementedError
