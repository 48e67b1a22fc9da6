"""Codes of schemes whose values cannot be made up at will; what they mean is written anew."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import cast

from pydicom.sr._concepts_dict import concepts
from pydicom.sr._snomed_dict import mapping as retired

_LISTED = frozenset({"DCM", "FMA", "LN", "UCUM"})
"""Schemes of which only the codes of DICOM's own dictionary stay: numbers of any length look like theirs, and
units may hold free text in braces."""

_SHAPES = {
    "SCT": re.compile(r"[1-9][0-9]{5,17}"),
    "SRT": re.compile(r"[ACDFGJLMPRT][0-9]?-[0-9A-F]{4,5}"),
    "NCIt": re.compile(r"C[0-9]{3,6}"),
}
"""Schemes with more codes of tissues, stains and sites than the dictionary has, and what these look like.

Of SRT the axes of bodies, substances and procedures: with other letters, as S-12345, cases are numbered.
"""


_UNITS = {"nm": "nanometer", "mL": "milliliter", "g": "gram", "mg": "milligram", "um2": "square micrometer"}
"""Units of slides that the dictionary lacks."""


def known_code(scheme: str, value: str) -> tuple[str, str, str] | None:
    """Return scheme, value and meaning of a code that may stay, else ``None``.

    The meaning is that of DICOM's dictionary (PS3.16), and where that has none, the value: a sender's own
    words are never kept.
    """
    shape = _SHAPES.get(scheme)
    if shape is None and scheme not in _LISTED:
        return None
    meaning = _meanings(scheme).get(value)
    if meaning is not None:
        return scheme, value, _plain(meaning)
    if shape is None or not shape.fullmatch(value) or (scheme == "SCT" and not _is_snomed_identifier(value)):
        return None
    return scheme, value, value


@cache
def _meanings(scheme: str) -> Mapping[str, str]:
    """Return the meanings of a scheme's codes; a table of the standard, not a cache of what was asked."""
    if scheme == "SRT":
        modern = _meanings("SCT")
        return {old: modern[new] for old, new in retired["SRT"].items() if new in modern}
    table = cast("dict[str, dict[str, tuple[str, list[int]]]]", concepts.get(scheme, {}))
    listed = {value: meaning for codes in table.values() for value, (meaning, _) in codes.items()}
    return listed | _UNITS if scheme == "UCUM" else listed


def _plain(meaning: str) -> str:
    """Return a meaning as fits a Long String (PS3.5, 6.2): 64 characters, ASCII."""
    return meaning.encode("ascii", "ignore").decode().replace("\\", " ")[:64].strip()


_TIMES = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 4, 0, 6, 7, 8, 9, 5), (2, 3, 4, 0, 1, 7, 8, 9, 5, 6),
    (3, 4, 0, 1, 2, 8, 9, 5, 6, 7), (4, 0, 1, 2, 3, 9, 5, 6, 7, 8), (5, 9, 8, 7, 6, 0, 4, 3, 2, 1),
    (6, 5, 9, 8, 7, 1, 0, 4, 3, 2), (7, 6, 5, 9, 8, 2, 1, 0, 4, 3), (8, 7, 6, 5, 9, 3, 2, 1, 0, 4),
    (9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
)  # fmt: skip
"""The dihedral group of the pentagon, on which Verhoeff's check is built."""

_TURN = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)
"""Verhoeff's permutation, applied once for each place."""


def _is_snomed_identifier(value: str) -> bool:
    """Return whether a number has the check digit of a concept of SNOMED CT; few numbers of records do."""
    check = 0
    for place, digit in enumerate(reversed(value)):
        turned = int(digit)
        for _ in range(place % 8):
            turned = _TURN[turned]
        check = _TIMES[check][turned]
    return check == 0 and value[-3:-1] in ("00", "10")
