"""Analysis ``cluster``: which kinds of tissue are there?"""

from __future__ import annotations

from dataclasses import dataclass

from shapely.geometry.base import BaseGeometry

from serving.webhooks.analyses.areas import Area
from serving.webhooks.analyses.patches import Float32Array, Int64Array, Patches


@dataclass(frozen=True, slots=True)
class Clusters:
    """Finding of the analysis.

    Attributes
    ----------
    labels:
        int64 ``[n]``: 0 is the cluster with the most patches.
    areas:
        One a cluster, in the order of the labels.
    """

    labels: Int64Array
    areas: tuple[Area, ...]


def cluster_labels(origins: Int64Array, embeddings: Float32Array, k: int, *, seed: int = 0) -> Int64Array:
    """Return the cluster of each patch, by k-means; the same every time, whatever the order of the rows.

    Parameters
    ----------
    origins:
        int64 ``[n, 2]``, by which rows are brought into one order.
    k:
        Number of clusters, 2 to 12.

    Raises
    ------
    AnalysisError
        When k is out of range, there are fewer patches than clusters, or a number is not finite.
    """
    raise NotImplementedError


def cluster(
    patches: Patches, embeddings: Float32Array, k: int, *, seed: int = 0, region: BaseGeometry | None = None
) -> Clusters:
    """Cluster the patches; see ``cluster_labels``. ``region`` is what the polygons are cut to."""
    raise NotImplementedError
