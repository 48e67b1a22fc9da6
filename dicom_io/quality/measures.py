"""The measures of a patch's quality, by the names that the API and tables have for them.

docs/trust.md has what each is, with its source.
"""

from __future__ import annotations

from enum import StrEnum


class Measure(StrEnum):
    """A measure of a patch, from 0 to 1. Where they are numbers in a row, they are in this order."""

    TISSUE = "tissue"
    BLUR = "blur"
    BRIGHTNESS = "brightness"
    SATURATION = "saturation"
    PEN = "pen"
    BLACK = "black"
    WHITE = "white"


MEANINGS = {
    Measure.TISSUE: "Share of the patch that shows tissue, by the rule for slides beside usual glass.",
    Measure.BLUR: "Blur effect: from 0, sharp, to 1, without any edges.",
    Measure.BRIGHTNESS: "Mean lightness: from 0, black, to 1, white.",
    Measure.SATURATION: "Mean saturation (HSV): from 0, gray, to 1.",
    Measure.PEN: "Share of the patch that has the colour of a pen's ink: green, strong blue or black.",
    Measure.BLACK: "Share of the patch that is black.",
    Measure.WHITE: "Share of the patch that is white.",
}
"""What each says, in a sentence."""

LESS_IS_BETTER = frozenset({Measure.BLUR, Measure.PEN, Measure.BLACK, Measure.WHITE})
"""Of the others, more is."""
