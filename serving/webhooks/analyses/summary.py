"""What an analysis says in words, whatever else it shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from serving.webhooks.analyses.areas import Area

RESEARCH_USE_ONLY = "For research use only; not for diagnosis."


@dataclass(frozen=True, slots=True)
class Summary:
    """Facts of a run, as a person reads them beside the result.

    Attributes
    ----------
    patches:
        How many patches were embedded.
    tissue:
        Share of the region that shows tissue, 0 to 1; ``None`` where it was not looked for.
    um_per_px:
        Resolution of the patches.
    model:
        Name of the encoder, and its digest where it is known.
    untrained:
        Whether the weights of the encoder, or of the one that the head was made for, are random.
    head:
        Name of the head; ``None`` where none was used.
    areas:
        What the legend shows.
    remarks:
        Further sentences, such as what could not be uploaded.
    provenance:
        What the vectors are made of, in words; empty where nothing is known.
    warning:
        What there is to say against the magnification; empty for nothing.
    """

    patches: int
    tissue: float | None
    um_per_px: float
    model: str
    untrained: bool
    head: str | None = None
    areas: tuple[Area, ...] = ()
    remarks: tuple[str, ...] = ()
    provenance: str = ""
    warning: str = ""

    def text(self) -> str:
        """Return the facts in lines, without a line break at the end."""
        tissue = "" if self.tissue is None else f"; {self.tissue:.0%} of the region is tissue"
        lines = [
            f"{_counted(self.patches)} at {self.um_per_px:g} µm/px{tissue}.",
            f"Model: {self.model}." + ("" if self.head is None else f" Head: {self.head}."),
        ]
        lines += [line for line in (self.provenance, self.warning) if line]
        if self.untrained:
            lines.append("UNTRAINED: the encoder's weights are random, so this result means nothing.")
        lines += [f"{area.name}: {_counted(area.patches)} ({area.share:.1%})" for area in self.areas]
        return "\n".join([*lines, *self.remarks, RESEARCH_USE_ONLY])


def model_in_words(encoder: Mapping[str, object]) -> str:
    """Return an encoder's name and its digest, by the facts about it that the API's ``metadata`` has."""
    return f"{encoder.get('model')} {encoder.get('digest', '')}".strip()


def _counted(patches: int) -> str:
    return f"{patches:,} patch{'' if patches == 1 else 'es'}"
