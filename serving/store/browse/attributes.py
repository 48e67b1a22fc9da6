"""The attributes of an instance as rows for people: DICOM JSON, flattened, with names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydicom.datadict import dictionary_description

MOST_ROWS = 4000
"""Rows that are shown: positions of each frame of a large level are many more, and tell people little."""

_LONGEST = 500
_MOST_VALUES = 32


@dataclass(frozen=True, slots=True)
class Row:
    """An attribute.

    Attributes
    ----------
    depth:
        How many sequences it is in.
    tag:
        As ``(0008,0060)``; of an item of a sequence its number, as ``item 1``.
    """

    depth: int
    tag: str
    name: str
    vr: str
    text: str


def rows_of(document: Mapping[str, Any], depth: int = 0) -> Iterator[Row]:
    """Yield the attributes of a data set in DICOM JSON (PS3.18, annex F); nested ones after theirs."""
    for key in sorted(document):
        element = document[key]
        vr, values = str(element.get("vr", "")), element.get("Value", [])
        tag = f"({key[:4]},{key[4:]})"
        if vr == "SQ":
            yield Row(depth, tag, _name(key), vr, f"{len(values)} item{'' if len(values) == 1 else 's'}")
            for number, item in enumerate(values, 1):
                yield Row(depth + 1, f"item {number}", "", "", "")
                yield from rows_of(item, depth + 2)
        else:
            yield Row(depth, tag, _name(key), vr, _text(element, values))


def _name(key: str) -> str:
    try:
        return dictionary_description(int(key, 16))
    except KeyError:
        return ""


def _text(element: Mapping[str, Any], values: list[Any]) -> str:
    if "BulkDataURI" in element or "InlineBinary" in element:
        return "binary"
    shown = " \\ ".join(_one(value) for value in values[:_MOST_VALUES])
    if len(values) > _MOST_VALUES:
        shown += f" … ({len(values)} values)"
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]} …"


def _one(value: object) -> str:
    if isinstance(value, dict):  # a person's name, in up to three scripts
        return "=".join(str(part) for part in value.values())
    return "" if value is None else str(value)
