"""Analysis ``cluster``: which kinds of tissue there are."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from serving.webhooks.analyses.areas import Area, areas
from serving.webhooks.analyses.colours import legend_colour
from serving.webhooks.analyses.errors import AnalysisError, require_finite
from serving.webhooks.analyses.patches import Float32Array, Int64Array, Patches
from serving.webhooks.analyses.regions import Region

MIN_CLUSTERS, MAX_CLUSTERS = 2, 12

_STARTS = 4
"""k-means is started so many times, and the best is taken."""


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
    embeddings:
        float32 ``[n, d]``.
    k:
        Number of clusters, 2 to 12.

    Returns
    -------
    int64 ``[n]``, 0 to k - 1, by falling size; of equally large ones, the one that is met first from the top
    comes first.

    Raises
    ------
    AnalysisError
        When k is out of range, there are fewer different patches than clusters, or a number is not finite.
    """
    if not MIN_CLUSTERS <= k <= MAX_CLUSTERS:
        raise AnalysisError(f"{k} clusters cannot be made; choose {MIN_CLUSTERS} to {MAX_CLUSTERS}.")
    require_finite(embeddings, "patches")
    if len(embeddings) < k:
        raise _too_few(len(embeddings), "patches", k)
    # k-means starts from rows that it draws by their numbers: these must not depend on who came first.
    order = np.lexsort((origins[:, 0], origins[:, 1]))
    with warnings.catch_warnings():
        # It warns where there are fewer different vectors than clusters, which is said below.
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = KMeans(k, n_init=_STARTS, random_state=seed).fit_predict(embeddings[order])
    names, first, sizes = np.unique(found, return_index=True, return_counts=True)
    if len(names) < k:
        raise _too_few(len(names), "kinds of patches", k)
    rank = np.empty(k, np.int64)
    rank[names[np.lexsort((first, -sizes))]] = np.arange(k)
    labels = np.empty(len(order), np.int64)
    labels[order] = rank[found]
    return labels


def _too_few(count: int, what: str, k: int) -> AnalysisError:
    return AnalysisError(
        f"{count} {what} cannot be put into {k} clusters; choose fewer clusters or a larger region."
    )


def cluster(
    patches: Patches, embeddings: Float32Array, k: int, *, seed: int = 0, region: Region | None = None
) -> Clusters:
    """Cluster the patches; see ``cluster_labels``. The areas are cut to ``region``."""
    labels = cluster_labels(patches.origins, embeddings, k, seed=seed)
    legend = [(f"Cluster {label + 1}", legend_colour(label)) for label in range(k)]
    return Clusters(labels, areas(patches, labels, legend, region))
