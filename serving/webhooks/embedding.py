"""What analyses of slides from anywhere share: which patches count, and embedding them, some at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from serving.errors import Fault
from serving.pipeline.embedder import Embedder
from serving.pipeline.types import Instance
from serving.webhooks.analyses.patches import Float32Array

LEAST_TISSUE = 0.05
"""Share of a patch that has to show tissue, as for ``pathserve embed``."""

MOST_PLACES = 4_000_000
"""Places for patches that are looked at before the tissue is known."""

CHUNK = 256
"""Patches that are embedded at once, between two words of progress."""


class NotEmbedded(Exception):
    """The patches have no embeddings; the text says why."""


def embed_in_chunks(
    count: int, instance: Callable[[slice], Instance], embedder: Embedder, done: Callable[[int, int], None]
) -> Float32Array:
    """Embed patches, ``CHUNK`` at a time.

    Parameters
    ----------
    count:
        How many there are, at least one.
    instance:
        Returns some of them as an instance.
    done:
        Called with how many patches are done, of how many.

    Returns
    -------
    float32 ``[count, dimension]``

    Raises
    ------
    NotEmbedded
    """
    found: list[Float32Array] = []
    for start in range(0, count, CHUNK):
        end = min(start + CHUNK, count)
        (outcome,) = embedder.embed([instance(slice(start, end))])
        if isinstance(outcome, Fault):
            raise NotEmbedded(outcome.description)
        found.append(outcome.vectors)
        done(end, count)
    return np.concatenate(found)
