"""What analyses of slides from anywhere share: which patches count, and embedding them, some at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from serving.errors import Code, Fault
from serving.pipeline.embedder import Embedder
from serving.pipeline.magnification import first_sentence
from serving.pipeline.types import Instance
from serving.provenance import Provenance, merged, records_of, sentence
from serving.webhooks.analyses.patches import Float32Array

LEAST_TISSUE = 0.05
"""Share of a patch that has to show tissue, as for ``pathserve embed``."""

MOST_PLACES = 4_000_000
"""Places for patches that are looked at before the tissue is known."""

CHUNK = 256
"""Patches that are embedded at once, between two words of progress."""


@dataclass(frozen=True, slots=True)
class Made:
    """The embeddings of patches, and what there is to say of them.

    Attributes
    ----------
    vectors:
        float32 ``[n, dimension]``.
    provenance:
        What they are made of, in words; empty where nothing is known.
    warning:
        What the magnification guard says of them; empty for nothing.
    """

    vectors: Float32Array
    provenance: str = ""
    warning: str = ""


class NotEmbedded(Exception):
    """The patches have no embeddings; the text says why."""


def embed_in_chunks(
    count: int, instance: Callable[[slice], Instance], embedder: Embedder, done: Callable[[int, int], None]
) -> Made:
    """Embed patches, ``CHUNK`` at a time.

    Parameters
    ----------
    count:
        How many there are, at least one.
    instance:
        Returns some of them as an instance.
    done:
        Called with how many patches are done, of how many.

    Raises
    ------
    NotEmbedded
    """
    found: list[Float32Array] = []
    told: list[Provenance] = []
    warning = ""
    for start in range(0, count, CHUNK):
        end = min(start + CHUNK, count)
        some = instance(slice(start, end))
        (outcome,) = embedder.embed([replace(some, extras=replace(some.extras, provenance=True))])
        if isinstance(outcome, Fault):
            raise NotEmbedded(_in_words(outcome))
        found.append(outcome.vectors)
        told.extend(records_of(outcome.provenance))
        if outcome.magnification is not None:
            warning = first_sentence(outcome.magnification.description)
        done(end, count)
    return Made(np.concatenate(found), sentence(merged(told)), warning)


def _in_words(fault: Fault) -> str:
    """Return a fault's description; without advice that is for callers of the API."""
    if fault.code != Code.MAGNIFICATION_ERROR:
        return fault.description
    return f"{first_sentence(fault.description)} Choose another resolution for the analysis."
