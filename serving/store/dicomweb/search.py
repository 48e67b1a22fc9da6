"""Searching for studies, series and instances (QIDO-RS; PS3.18, 10.6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import orjson
from flask import Response, request

from serving.store.dicomweb.accept import accepted, require
from serving.store.dicomweb.library import Addresses, Library, require_uids
from serving.store.dicomweb.parameters import Search, parse_search
from serving.store.dicomweb.retrieve import JSON, addressed, listed
from serving.store.door import caller
from serving.store.index.attributes import Attribute, Level, attributes_of
from serving.store.index.query import Found, Page
from serving.store.index.store_index import StoreIndex

_PER_FRAME = "52009230"
_NUMBERS = ("IS", "US", "UL", "DS")
Document = dict[str, dict[str, Any]]


def search(library: Library, level: Level, study: str | None = None, series: str | None = None) -> Response:
    """Answer a search among the studies that the caller may see.

    Raises
    ------
    ServiceError
        INVALID_REQUEST_FIELD_ERROR, NOT_ACCEPTABLE_ERROR
    """
    require(accepted(request.headers.get("Accept")), JSON, "application/json")
    require_uids(*(uid for uid in (study, series) if uid is not None))
    asked = parse_search(level, request.args, study, series)
    # What the address names is not answered again, but for its UID.
    levels = [
        one
        for one in Level
        if one <= level
        and (one is not Level.STUDY or study is None or asked.includes_all)
        and (one is not Level.SERIES or series is None or asked.includes_all)
    ]
    page = library.index.search(level, asked.query, caller().permission)
    answer = Response(
        listed(_documents(library.index, library.addresses(), asked, page, levels)), content_type=JSON
    )
    if asked.is_fuzzy:
        _warn(
            answer, "The fuzzymatching parameter is not supported. Only literal matching has been performed."
        )
    if page.remaining:
        _warn(answer, f"There are {page.remaining} additional results that can be requested")
    return answer


def _warn(answer: Response, text: str) -> None:
    answer.headers.add("Warning", f'299 pathserve "{text}"')


def _documents(
    index: StoreIndex, addresses: Addresses, asked: Search, page: Page, levels: Sequence[Level]
) -> Iterator[bytes]:
    """Yield the rows of a page as JSON, with the attributes of some levels."""
    level = page.rows[0].level if page.rows else Level.STUDY
    wanted = asked.included - _ALWAYS
    if level is Level.INSTANCE and (asked.includes_all or wanted):
        rows = _with_metadata(index, addresses, page.rows, None if asked.includes_all else wanted)
    else:
        rows = ((found, {}) for found in page.rows)
    for found, more in rows:
        document = more | _document(addresses, found, levels)
        for attribute in _UPPER:
            if attribute.tag in asked.included and attribute.level <= level:
                document.setdefault(attribute.tag, _element(attribute, found))
        yield orjson.dumps(dict(sorted(document.items())))


def _with_metadata(
    index: StoreIndex, addresses: Addresses, rows: Sequence[Found], wanted: frozenset[str] | None
) -> Iterator[tuple[Found, Document]]:
    """Yield instances with attributes of their metadata: those wanted, or all but the many of each frame."""
    by_uid = {found.sop: found for found in rows}
    for sop, document in index.metadata(list(by_uid)):
        found = by_uid[sop]
        whole = orjson.loads(addressed(document, _address(addresses, found)))
        picked = (whole.keys() if wanted is None else wanted) - {_PER_FRAME}
        yield found, {tag: whole[tag] for tag in picked if tag in whole}


def _document(addresses: Addresses, found: Found, levels: Sequence[Level]) -> Document:
    document = {
        "00081190": _value("UR", _address(addresses, found)),
        "0020000D": _value("UI", found.study),
        "00080056": _value("CS", "ONLINE"),
    }
    for level in levels:
        for attribute in attributes_of(level):
            # Keys that a level has to have are there even if empty; an instance has what it has.
            if level is not Level.INSTANCE or found.values.get(attribute.column):
                document[attribute.tag] = _element(attribute, found)
    if found.level is not Level.STUDY:
        document["0020000E"] = _value("UI", found.series)
    match found.level:
        case Level.STUDY:
            document["00080061"] = {"vr": "CS", "Value": list(found.modalities)}
            document["00201206"] = _value("IS", found.series_count)
            document["00201208"] = _value("IS", found.instance_count)
        case Level.SERIES:
            document["00201209"] = _value("IS", found.instance_count)
        case Level.INSTANCE:
            document["00080018"] = _value("UI", found.sop)
            # The second is of a file's meta information, and yet what Google's clients look for.
            document["00083002"] = document["00020010"] = _value("UI", found.transfer_syntax)
    return document


def _address(addresses: Addresses, found: Found) -> str:
    return addresses.of(*(uid for uid in (found.study, found.series, found.sop) if uid))


def _value(vr: str, value: str | int) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]}


def _element(attribute: Attribute, found: Found) -> dict[str, Any]:
    text = found.values.get(attribute.column, "")
    if not text:
        return {"vr": attribute.vr}
    values = text.strip("\\").split("\\") if attribute.is_many else [text]
    return {"vr": attribute.vr, "Value": [_typed(attribute.vr, value) for value in values]}


def _typed(vr: str, text: str) -> object:
    if vr == "PN":
        groups = zip(("Alphabetic", "Ideographic", "Phonetic"), text.split("="), strict=False)
        return {name: group for name, group in groups if group}
    if vr in _NUMBERS:
        try:
            return int(text)
        except ValueError:
            return text
    return text


_UPPER = tuple(one for level in (Level.STUDY, Level.SERIES) for one in attributes_of(level))
_ALWAYS = frozenset(
    {"0020000D", "0020000E", "00080018", "00083002", "00020010", "00080061", "00081190", "00080056"}
    | {one.tag for level in Level for one in attributes_of(level)}
)
"""Tags that rows of the index answer, without an instance's metadata."""
