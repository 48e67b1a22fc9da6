"""What an instance has come to. It imports no decoder and no store: clients of a service have it, too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from model.encoder import Vectors
from serving.errors import Fault


@dataclass(frozen=True, slots=True)
class Embeddings:
    """An instance's vectors, and what else was wanted of it.

    Attributes
    ----------
    vectors:
        float32 ``[patches, dimension]`` in the order of the instance's patches; NaN for one with a fault.
    faults:
        Of patches, by their index; only where ``Extras.per_patch_errors`` allows them.
    quality:
        float32 ``[patches, measures]`` in the order of ``Measure``, NaN for a patch that could not be read;
        where ``Extras.patch_quality`` asks for it.
    provenance:
        What the vectors are made of, as JSON, where ``Extras.provenance`` asks for it.
    """

    vectors: Vectors
    faults: Mapping[int, Fault] = field(default_factory=dict)
    quality: npt.NDArray[np.float32] | None = None
    provenance: Mapping[str, object] | None = None


Outcome = Embeddings | Fault
"""What an instance has come to, or why it has no vectors."""
