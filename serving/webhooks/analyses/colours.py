"""Colours of a legend: told apart on stained tissue, and by people who see few colours as well as can be."""

from __future__ import annotations

import re

LEGEND = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00",
    "#F0E442", "#7F3C8D", "#11A579", "#3969AC", "#80BA5A", "#A5AA99",
)  # fmt: skip
"""Twelve colours; the first seven are those of Okabe and Ito's palette (Color Universal Design, 2008)."""

_HEX = re.compile(r"#[0-9A-Fa-f]{6}")


def legend_colour(index: int) -> str:
    """Return the colour of an entry of a legend, ``#RRGGBB``; after twelve they begin anew."""
    return LEGEND[index % len(LEGEND)]


def is_colour(text: str) -> bool:
    """Return whether a text is ``#RRGGBB``."""
    return _HEX.fullmatch(text) is not None
