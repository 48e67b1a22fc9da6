"""Analysis ``classify``: a linear head over the embeddings names each patch's class."""

from __future__ import annotations

from dataclasses import dataclass

from shapely.geometry.base import BaseGeometry

from serving.webhooks.analyses.areas import Area
from serving.webhooks.analyses.patches import Float32Array, Int64Array, Patches
from serving.webhooks.heads.head import Head


@dataclass(frozen=True, slots=True)
class Classified:
    """Finding of the analysis.

    Attributes
    ----------
    probabilities:
        float32 ``[n, classes]``; each row's sum is 1.
    labels:
        int64 ``[n]``: the most probable class.
    areas:
        One a class, in the head's order.
    """

    probabilities: Float32Array
    labels: Int64Array
    areas: tuple[Area, ...]


def classify(
    patches: Patches, embeddings: Float32Array, head: Head, *, region: BaseGeometry | None = None
) -> Classified:
    """Classify the patches.

    Whoever calls has asked ``head.require`` whether it fits the encoder and the resolution.

    Raises
    ------
    AnalysisError
        When the embeddings have another dimension than the head, or a number is not finite.
    """
    raise NotImplementedError
