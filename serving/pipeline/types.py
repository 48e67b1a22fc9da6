"""What goes through the pipeline: instances in, outcomes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dicom_io.geometry import Patch
from dicom_io.reading import ReadOptions
from dicom_io.sources.session import Source
from model.encoder import EncoderFacts, Vectors
from serving.errors import Fault


@dataclass(frozen=True, slots=True)
class Instance:
    """One image and the patches wanted of it, in the order of the request."""

    source: Source
    patches: tuple[Patch, ...]
    options: ReadOptions


Item = Instance | Fault
"""An instance, or why what was sent is none; its fault is its outcome."""

Outcome = Vectors | Fault
"""float32 ``[patches, dimension]`` in the order of the instance's patches, or why there is none."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """One outcome for each item, in their order, and the encoder that made them."""

    outcomes: list[Outcome]
    facts: EncoderFacts


def patch_count(items: Sequence[Item]) -> int:
    """Return the number of patches of all instances."""
    return sum(len(item.patches) for item in items if not isinstance(item, Fault))
