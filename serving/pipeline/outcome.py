"""What an instance has come to. It imports no decoder and no store: clients of a service have it, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from dicom_io.quality.measures import Measure
from model.encoder import Vectors
from serving.errors import Fault
from serving.provenance import as_one, records_of


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
        float32 ``[patches, measures]`` in the order of ``Measure``, NaN for a patch that could not be read;
        where ``Extras.patch_quality`` asks for it.
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


NO_FAULTS: Mapping[int, Fault] = MappingProxyType({})

Outcome = Embeddings | Fault
"""What an instance has come to, or why it has no vectors."""


def joined(parts: Sequence[Embeddings], faults: Mapping[int, Fault] = NO_FAULTS) -> Embeddings:
    """Return parts of an instance as one.

    Parameters
    ----------
    faults:
        Of patches of the whole, beside those of the parts.
    """
    if not parts:
        return Embeddings(np.empty((0, 0), np.float32))
    found, first = dict(faults), 0
    for part in parts:
        found |= {first + index: fault for index, fault in part.faults.items()}
        first += len(part.vectors)
    return Embeddings(
        np.concatenate([part.vectors for part in parts]),
        found,
        _quality(parts),
        as_one(record for part in parts for record in records_of(part.provenance)),
        next((part.magnification for part in parts if part.magnification is not None), None),
    )


def _quality(parts: Sequence[Embeddings]) -> npt.NDArray[np.float32] | None:
    """Return the quality of all patches; ``None`` where none has been measured."""
    if all(part.quality is None for part in parts):
        return None
    none = np.full((1, len(Measure)), np.nan, np.float32)
    return np.concatenate(
        [none.repeat(len(part.vectors), 0) if part.quality is None else part.quality for part in parts]
    )
