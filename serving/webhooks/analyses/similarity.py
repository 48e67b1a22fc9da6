"""Analysis ``similar``: where on the slide does it look as in the exemplar?"""

from __future__ import annotations

from dataclasses import dataclass

from shapely import Polygon
from shapely.geometry.base import BaseGeometry

from serving.webhooks.analyses.heatmap import HeatMap
from serving.webhooks.analyses.patches import BoolArray, Float32Array, Int64Array, Patches


@dataclass(frozen=True, slots=True)
class Similar:
    """Finding of the analysis.

    Attributes
    ----------
    scores:
        float32 ``[n]``, -1 to 1, in the order of the patches.
    heat:
        The scores, 0 and below as 1, 1 as 255.
    best:
        int64 ``[k]``: rows of the most similar patches, best first.
    polygons:
        Outline of the most similar patches.
    points:
        int64 ``[k, 2]``: (x, y) of their centres, best first.
    """

    scores: Float32Array
    heat: HeatMap
    best: Int64Array
    polygons: tuple[Polygon, ...]
    points: Int64Array


def similarity(
    embeddings: Float32Array, exemplars: Float32Array, *, subtract_mean: bool = True
) -> Float32Array:
    """Return the cosine of each embedding to the exemplars' mean.

    Parameters
    ----------
    embeddings:
        float32 ``[n, d]``.
    exemplars:
        float32 ``[m, d]``, at least one.
    subtract_mean:
        Whether the mean of ``embeddings`` is taken from both first: what all tissue of the slide shares, such
        as its stain, then counts for nothing.

    Returns
    -------
    float32 ``[n]``, -1 to 1; 0 for a vector without a direction.

    Raises
    ------
    AnalysisError
        When there is no exemplar, or dimensions differ, or a number is not finite.
    """
    raise NotImplementedError


def find_similar(
    patches: Patches,
    embeddings: Float32Array,
    exemplars: Float32Array,
    *,
    top: int = 20,
    exclude: BoolArray | None = None,
    region: BaseGeometry | None = None,
    subtract_mean: bool = True,
) -> Similar:
    """Find the patches that are most similar to the exemplars.

    Parameters
    ----------
    embeddings, exemplars, subtract_mean:
        See ``similarity``.
    top:
        How many patches become polygons and points.
    exclude:
        bool ``[n]``: patches that are not among those, such as the exemplar's own.
    region:
        What the polygons are cut to.
    """
    raise NotImplementedError
