"""How often the lines of a region cross: what bounds the work of making geometry of them.

To make it takes time by their crossings, which can be as many as the square of the points: two thousand
points at random, 40 kB of JSON, would take a minute, and cannot be interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import shapely

from serving.webhooks.analyses.errors import AnalysisError

MOST_POINTS = 5_000
"""Of a region whose lines might cross, once points within a pixel of a straight line are left out."""

MOST_CROSSINGS = 2_000
"""About: a few are counted twice."""

_AT_ONCE = 256

Ring = npt.NDArray[np.float64]
"""float64 ``[n, 2]``: (x, y), the first again at the end."""


def require_few_crossings(rings: Sequence[Ring]) -> list[Ring]:
    """Return rings, with fewer points where there are many.

    Raises
    ------
    AnalysisError
        When they have too many points, or cross each other or themselves too often.
    """
    if sum(map(len, rings)) > MOST_POINTS:
        rings = [_simplified(ring) for ring in rings]
    count = sum(map(len, rings))
    if count > MOST_POINTS:
        raise AnalysisError(
            f"The region has {count:,} points, and at most {MOST_POINTS:,} can be used; draw it with fewer."
        )
    if _cross_often(rings):
        raise AnalysisError(
            f"The region's lines cross more than {MOST_CROSSINGS:,} times; draw it without crossings."
        )
    return list(rings)


def _simplified(ring: Ring) -> Ring:
    line = shapely.simplify(shapely.LineString(ring), 1.0, preserve_topology=False)
    found = np.asarray(shapely.get_coordinates(line), np.float64)
    return found if len(found) >= 4 else ring


def _cross_often(rings: Sequence[Ring]) -> bool:
    """Return whether there are more than ``MOST_CROSSINGS``; those at ends of edges do not count."""
    starts = np.concatenate([ring[:-1] for ring in rings])
    ends = np.concatenate([ring[1:] for ring in rings])
    count = 0
    for first in range(0, len(starts), _AT_ONCE):
        some = slice(first, first + _AT_ONCE)
        p, q = starts[some, np.newaxis], ends[some, np.newaxis]
        # Those before have met these already.
        begin, end = starts[first:], ends[first:]
        parted = _side(begin, end, p) * _side(begin, end, q) < 0
        parting = _side(p, q, begin) * _side(p, q, end) < 0
        count += int((parted & parting).sum())
        if count > MOST_CROSSINGS:
            return True
    return False


def _side(start: Ring, end: Ring, point: Ring) -> npt.NDArray[np.float64]:
    """Return on which side of edges points lie, by the sign; 0 is on the line."""
    edge, away = end - start, point - start
    return np.asarray(edge[..., 0] * away[..., 1] - edge[..., 1] * away[..., 0], np.float64)
