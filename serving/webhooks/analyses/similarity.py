"""Analysis ``similar``: where on the slide it looks as in the exemplar."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from shapely import Polygon

from serving.webhooks.analyses.areas import outline
from serving.webhooks.analyses.errors import AnalysisError, require_finite
from serving.webhooks.analyses.heatmap import HeatMap, heat_map
from serving.webhooks.analyses.patches import BoolArray, Float32Array, Int64Array, Patches
from serving.webhooks.analyses.regions import Region, moved_into

_NO_DIRECTION = 1e-5
"""A difference of this share of the vectors' length is rounding in float32, not a direction."""


@dataclass(frozen=True, slots=True)
class Similar:
    """Finding of the analysis.

    Attributes
    ----------
    scores:
        float32 ``[n]``, -1 to 1, in the order of the patches.
    heat:
        The scores: 0 and below as 1, 1 as 255, so that two slides' pictures can be compared.
    best:
        int64 ``[k]``: rows of the most similar patches, best first.
    polygons:
        Outline of the most similar patches.
    points:
        int64 ``[k, 2]``: (x, y) of their centres, best first; of one that is beyond the region, the place of
        the region that is nearest.
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
        When there is no exemplar, dimensions differ, or a number is not finite.
    """
    if not len(exemplars):
        raise AnalysisError("There is no exemplar; mark the tissue that is to be found.")
    if exemplars.shape[1] != embeddings.shape[1]:
        raise AnalysisError(
            f"The exemplar's vectors have {exemplars.shape[1]} numbers, the slide's {embeddings.shape[1]}: "
            "they were made by different encoders."
        )
    require_finite(embeddings, "patches")
    require_finite(exemplars, "exemplars")
    # Cosines do not depend on the scale; at this one no square overflows.
    largest = max(np.abs(embeddings).max(initial=0.0), np.abs(exemplars).max()) or np.float32(1)
    wanted = (exemplars / largest).mean(axis=0, dtype=np.float64)
    scaled = embeddings / largest
    length = np.sqrt(np.mean(np.square(scaled), dtype=np.float64) * scaled.shape[1])
    if subtract_mean:
        mean = scaled.mean(axis=0, dtype=np.float64)
        wanted = wanted - mean
        scaled -= mean.astype(np.float32)
    norms = np.linalg.norm(scaled, axis=1) * np.linalg.norm(wanted)
    dots = scaled @ wanted.astype(np.float32)
    directed = (norms > (_NO_DIRECTION * length) ** 2) & (norms > 0)
    cosines = np.divide(dots, norms, out=np.zeros_like(norms), where=directed)
    return np.asarray(np.clip(cosines, -1, 1), np.float32)


def find_similar(
    patches: Patches,
    embeddings: Float32Array,
    exemplars: Float32Array,
    *,
    top: int = 20,
    exclude: BoolArray | None = None,
    region: Region | None = None,
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
        What the polygons are cut to; the points are in it, too.

    Raises
    ------
    AnalysisError
        See ``similarity``.
    """
    scores = similarity(embeddings, exemplars, subtract_mean=subtract_mean)
    candidates = np.flatnonzero(np.ones(len(patches), bool) if exclude is None else ~exclude)
    # Of equal scores the upper left comes first, whatever the order of the rows.
    order = np.lexsort((patches.origins[candidates, 0], patches.origins[candidates, 1], -scores[candidates]))
    best = candidates[order[:top]]
    chosen = np.zeros(len(patches), bool)
    chosen[best] = True
    points = np.rint(patches.centres[best]).astype(np.int64)
    return Similar(
        scores=scores,
        heat=heat_map(patches, scores),
        best=best,
        polygons=outline(patches, chosen, region),
        points=points if region is None else moved_into(points, region),
    )
