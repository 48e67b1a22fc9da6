"""What an analysis says in words, whatever else it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from serving.webhooks.analyses.areas import Area


@dataclass(frozen=True, slots=True)
class Summary:
    """Facts of a run, as a person reads them beside the result.

    Attributes
    ----------
    patches:
        How many patches were embedded.
    tissue:
        Share of the region's patches that show tissue, 0 to 1; ``None`` where it was not looked for.
    um_per_px:
        Resolution that was embedded.
    model:
        Name of the encoder, with its digest where known.
    untrained:
        Whether the encoder's weights are random, so that nothing is meant by the result.
    head:
        Name of the head; ``None`` where none was used.
    remarks:
        Further sentences.
    """

    patches: int
    tissue: float | None
    um_per_px: float
    model: str
    untrained: bool
    head: str | None = None
    areas: tuple[Area, ...] = ()
    remarks: Sequence[str] = ()

    def text(self) -> str:
        """Return it in lines."""
        raise NotImplementedError
