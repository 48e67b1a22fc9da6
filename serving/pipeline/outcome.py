"""What an instance has come to. It imports no decoder and no store: clients of a service have it, too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from model.encoder import Vectors
from serving.errors import Fault


@dataclass(frozen=True, slots=True)
class MagnificationWarning:
    """Why an image's vectors may mean little: its pixels are not of a size that the model is made for.

    Attributes
    ----------
    verdict:
        ``too_fine``, ``too_coarse`` or ``unknown``.
    um_per_px:
        Size of a pixel as the model saw it, along a row and down a column; ``None`` where nothing tells.
    description:
        What is wrong, and what to ask for instead.
    """

    verdict: str
    um_per_px: tuple[float, float] | None
    description: str


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
        float32 ``[patches, measures]``, where ``Extras.patch_quality`` asks for it.
    provenance:
        What the vectors are made of, as JSON, where ``Extras.provenance`` asks for it.
    magnification:
        What the magnification guard says of the image, where it lets it pass all the same.
    """

    vectors: Vectors
    faults: Mapping[int, Fault] = field(default_factory=dict)
    quality: npt.NDArray[np.float32] | None = None
    provenance: Mapping[str, object] | None = None
    magnification: MagnificationWarning | None = None


Outcome = Embeddings | Fault
"""What an instance has come to, or why it has no vectors."""
