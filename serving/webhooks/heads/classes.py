"""Analysis ``classify``: a linear head over the embeddings names each patch's class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serving.heads.head import Head
from serving.webhooks.analyses.areas import Area, areas
from serving.webhooks.analyses.errors import AnalysisError, require_finite
from serving.webhooks.analyses.patches import Float32Array, Int64Array, Patches
from serving.webhooks.analyses.regions import Region


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
    patches: Patches, embeddings: Float32Array, head: Head, *, region: Region | None = None
) -> Classified:
    """Classify the patches.

    Whether the head is made for the encoder and the resolution, ``head.require`` says: before the patches are
    embedded.

    Parameters
    ----------
    embeddings:
        float32 ``[n, d]``.
    region:
        What the areas are cut to.

    Raises
    ------
    AnalysisError
        When the embeddings have another dimension than the head, or a number is not finite.
    """
    if embeddings.shape[1] != head.weights.shape[1]:
        raise AnalysisError(
            f'The head "{head.name}" is for vectors of {head.weights.shape[1]} numbers; the encoder makes '
            f"{embeddings.shape[1]}. Train a head for this encoder."
        )
    require_finite(embeddings, "patches")
    probabilities = head.probabilities(embeddings)
    labels = np.argmax(probabilities, axis=1).astype(np.int64)
    legend = list(zip(head.classes, head.colours, strict=True))
    return Classified(probabilities, labels, areas(patches, labels, legend, region))
