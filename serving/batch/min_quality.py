"""How good patches have to be, as a command line says it. Imports nothing that only embedding needs."""

from __future__ import annotations

from collections.abc import Sequence

from dicom_io.quality.measures import Measure

Bounds = tuple[tuple[str, float], ...]
"""Measures in their order, and how good each has to be: at least so much, or at most where less is better."""


def bounds(text: str) -> dict[str, float]:
    """Return the bounds that were typed, as ``tissue=0.5,blur=0.6``.

    Raises
    ------
    ValueError
        With a sentence that follows the text.
    """
    found: dict[str, float] = {}
    for one in text.split(","):
        name, _, number = one.partition("=")
        try:
            measure, value = Measure(name.strip().lower()), float(number)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1:
            raise ValueError(f"is not NAME=VALUE with a value from 0 to 1 and one of {', '.join(Measure)}")
        found[measure.value] = value
    return found


def ordered(given: Sequence[dict[str, float]]) -> Bounds:
    """Return bounds that were typed one after the other as one; the last of a measure that is named twice."""
    merged = {name: value for one in given for name, value in one.items()}
    return tuple((measure.value, merged[measure]) for measure in Measure if measure in merged)
