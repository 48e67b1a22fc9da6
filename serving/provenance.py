"""Records of provenance, as JSON: several of one slide as one, and one in words. See docs/trust.md."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Provenance = Mapping[str, Any]
"""What vectors are made of; its schema is docs/provenance.schema.json."""

_SETS = ("transfer_syntaxes", "decoders")
"""Of what was read: whichever frames happened to come in one part of a slide, and not in another."""


def merged(records: Iterable[Provenance]) -> list[Provenance]:
    """Return the records of a slide's parts as few: those that differ only in when, or in which frames came.

    Returns
    -------
    Mostly one; several where a run has gone on with another version, say. In the order of their first parts.
    """
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        made = copy.deepcopy(dict(record))
        known = found.setdefault(_key(made), made)
        if known is not made:
            _add(known, made)
    return list(found.values())


def records_of(provenance: Provenance | None) -> list[Provenance]:
    """Return the records of an outcome: none where none were asked for, several where it has several."""
    if provenance is None:
        return []
    records: list[Provenance] = provenance.get("records", [provenance])
    return records


def as_one(records: Iterable[Provenance]) -> Provenance | None:
    """Return records as an outcome has them; ``records_of`` takes them apart."""
    found = merged(records)
    return found[0] if len(found) == 1 else {"records": found} if found else None


def sentence(records: Sequence[Provenance]) -> str:
    """Return records in words: for a person who reads a result. Empty where nothing is known."""
    return " ".join(_sentence(record) for record in records)


def _sentence(record: Provenance) -> str:
    image, read, model, service = (record[name] for name in ("image", "read", "model", "service"))
    level = "" if image["level"] is None else f" of level {image['level']}"
    if (um := read["um_per_px"]) is None:
        size = "of unknown size"
    else:
        x, y = (f"{side:.4g}" for side in um)
        size = f"of {x} µm" if x == y else f"of {x} x {y} µm"
    resized = "" if read["resampling"] == "none" else f", resized by {read['resampling']}"
    return (
        f"Pixels{level} {size}{resized}; {model['runtime']}, {model['precision']}; pathserve "
        f"{service['version']}, {service['time']}."
    )


def _key(record: dict[str, Any]) -> str:
    """Return what a record has in common with those that it is one with."""
    read = {name: value for name, value in record["read"].items() if name not in _SETS}
    service = {name: value for name, value in record["service"].items() if name not in ("time", "until")}
    return json.dumps({**record, "read": read, "service": service}, sort_keys=True)


def _add(known: dict[str, Any], other: dict[str, Any]) -> None:
    for name in _SETS:
        known["read"][name] = sorted({*known["read"][name], *other["read"][name]})
    times = [one["service"].get(name) for one in (known, other) for name in ("time", "until")]
    first, last = min(filter(None, times)), max(filter(None, times))
    known["service"] = {**known["service"], "time": first} | ({"until": last} if last != first else {})
