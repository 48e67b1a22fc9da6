"""What goes through the pipeline: instances in, outcomes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from dicom_io.geometry import Patch
from dicom_io.reading import ReadOptions
from dicom_io.sources.session import Source
from model.encoder import EncoderFacts
from serving.errors import Fault
from serving.pipeline.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Extras:
    """What is wanted of an instance besides its vectors (the API's ``extensions``).

    Attributes
    ----------
    provenance:
        Whether what its vectors are made of is told.
    patch_quality:
        Whether each patch's pixels are measured.
    per_patch_errors:
        Whether a patch that cannot be read costs its own row, not its instance.
    """

    provenance: bool = False
    patch_quality: bool = False
    per_patch_errors: bool = False


NO_EXTRAS = Extras()

EXTRAS = tuple(one.name for one in fields(Extras))
"""What there is to be wanted, by the names that the API has for it."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One image and the patches wanted of it, in the order of the request."""

    source: Source
    patches: tuple[Patch, ...]
    options: ReadOptions
    extras: Extras = NO_EXTRAS


Item = Instance | Fault
"""An instance, or why what was sent is none; its fault is its outcome."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """One outcome for each item, in their order, and the encoder that made them."""

    outcomes: list[Outcome]
    facts: EncoderFacts


def patch_count(items: Sequence[Item]) -> int:
    """Return the number of patches of all instances."""
    return sum(len(item.patches) for item in items if not isinstance(item, Fault))
