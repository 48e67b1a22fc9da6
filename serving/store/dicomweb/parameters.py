"""The parameters of a search (PS3.18, 8.3.4), from the address to a query."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pydicom.datadict import keyword_for_tag, tag_for_keyword
from werkzeug.datastructures import MultiDict

from serving.errors import Code, ServiceError
from serving.store.index.attributes import ATTRIBUTES, Attribute, Level
from serving.store.index.query import Match, Query
from serving.store.uids import is_uid

MOST_ROWS = 5000
"""Rows of one answer; more are asked for by ``offset``."""

_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_DATES = re.compile(r"\d{8}|\d{8}-|-\d{8}|\d{8}-\d{8}")
_TIMES = re.compile(r"\d{2,6}(\.\d{1,6})?|(\d{2,6}(\.\d{1,6})?)?-(\d{2,6}(\.\d{1,6})?)?")
_NOT_ATTRIBUTES = frozenset(
    {"limit", "offset", "fuzzymatching", "includefield", "emptyvaluematching", "origin"}
)
_BY_TAG = {attribute.tag: attribute for attribute in ATTRIBUTES}
_UIDS = {"0020000D": ("study", 1), "0020000E": ("series", 2), "00080018": ("sop", 3)}
_MODALITIES, _SYNTAX = "00080061", ("00083002", "00020010")
_MOST_VALUES = 1000
_MOST_MODALITIES = 100
_LONGEST = 4096


@dataclass(frozen=True, slots=True)
class Search:
    """What is asked for.

    Attributes
    ----------
    included:
        Tags beside those that are always answered.
    includes_all:
        Whether all that there is shall be answered.
    is_fuzzy:
        Whether fuzzy matching was asked for, which there is not.
    """

    query: Query
    included: frozenset[str]
    includes_all: bool
    is_fuzzy: bool


def parse_search(
    level: Level, parameters: MultiDict[str, str], study: str | None = None, series: str | None = None
) -> Search:
    """Return the search that an address asks for.

    Parameters
    ----------
    study, series:
        UIDs in the path.

    Raises
    ------
    ServiceError
        INVALID_REQUEST_FIELD_ERROR
    """
    uids: dict[str, tuple[str, ...]] = {"study": (), "series": (), "sop": ()}
    lists: dict[str, tuple[str, ...]] = {}
    matches, also = [], set[str]()
    for name, value in _attributes(parameters):
        tag = _tag(name)
        if tag in also or (tag in _SYNTAX and not also.isdisjoint(_SYNTAX)):
            raise _bad(f"{_shown(name)} is given twice, by another of its names.")
        also.add(tag)
        if value in ("", "*"):
            continue  # universal matching: all match, and it is answered
        if tag in _UIDS and _UIDS[tag][1] <= level:
            uids[_UIDS[tag][0]] = _uid_list(name, value)
        elif tag == _MODALITIES:
            lists["modalities"] = _modality_list(value)
        elif tag in _SYNTAX and level is Level.INSTANCE:
            lists["transfer_syntaxes"] = _uid_list(name, value)
        else:
            matches.append(_match(level, name, tag, value))
    if (origin := parameters.get("origin")) is not None:
        if level is not Level.INSTANCE:
            raise _bad("origin can be searched by among instances only.")
        lists["origins"] = (_text("origin", origin),)
    included, includes_all = _included(parameters.getlist("includefield"))
    query = Query(
        study=_narrowed(uids["study"], study),
        series=_narrowed(uids["series"], series),
        sop=uids["sop"],
        matches=tuple(matches),
        limit=min(MOST_ROWS, _number(parameters, "limit", MOST_ROWS)),
        offset=_number(parameters, "offset", 0),
        **lists,
    )
    is_fuzzy = parameters.get("fuzzymatching", "false").lower() == "true"
    return Search(query, included | also, includes_all, is_fuzzy)


def _attributes(parameters: MultiDict[str, str]) -> Iterable[tuple[str, str]]:
    """Return names and values; a list of UIDs may also come as several parameters of one name."""
    found = []
    for name, values in parameters.lists():
        if name in _NOT_ATTRIBUTES:
            continue
        if len(values) > 1 and not all(is_uid(uid) for value in values for uid in value.split(",")):
            raise _bad(f"{_shown(name)} is given twice; only UIDs may be a list.")
        found.append((name, ",".join(values)))
    return found


def _tag(name: str) -> str:
    """Return the tag that a keyword, or the tag itself, names."""
    tag = int(name, 16) if _TAG.fullmatch(name) else tag_for_keyword(name)
    if tag is None:
        raise _bad(f"{_shown(name)} is not a parameter of a search, nor the keyword or tag of an attribute.")
    return f"{tag:08X}"


def _match(level: Level, name: str, tag: str, value: str) -> Match:
    attribute = _BY_TAG.get(tag)
    if attribute is None or attribute.level > level:
        known = ", ".join(one.keyword for one in ATTRIBUTES if one.level <= level)
        raise _bad(f"{_shown(name)} cannot be searched by here; besides UIDs and ModalitiesInStudy: {known}.")
    return Match(attribute, _values(name, attribute, _text(name, value)))


def _text(name: str, value: str) -> str:
    """Return a value that a database can be asked for."""
    if len(value) > _LONGEST or "\0" in value:
        raise _bad(f"The value of {name} is too long, or has characters that no value has.")
    return value


def _values(name: str, attribute: Attribute, value: str) -> tuple[str, ...]:
    match attribute.vr:
        case "UI":
            return _uid_list(name, value)
        case "DA":
            if not _DATES.fullmatch(value):
                raise _bad(f"{name} must be a date YYYYMMDD, or a range YYYYMMDD-YYYYMMDD, open at one end.")
        case "TM":
            value = value.replace(":", "")
            if not _TIMES.fullmatch(value) or value == "-":
                raise _bad(f"{name} must be a time HHMMSS, or a range HHMMSS-HHMMSS, open at one end.")
        case "US" | "UL" | "IS":
            if not value.strip().isdecimal() or not value.isascii() or len(value) > 12:
                raise _bad(f"{name} must be a whole number.")
            value = str(int(value))
    return (value,)


def _uid_list(name: str, value: str) -> tuple[str, ...]:
    uids = tuple(value.replace("\\", ",").split(","))
    if len(uids) > _MOST_VALUES or not all(map(is_uid, uids)):
        raise _bad(f"{name} must be a UID, or a list of at most {_MOST_VALUES}, separated by commas.")
    return uids


def _modality_list(value: str) -> tuple[str, ...]:
    modalities = tuple(_text("ModalitiesInStudy", value).replace(",", "\\").split("\\"))
    if len(modalities) > _MOST_MODALITIES:
        raise _bad(f"ModalitiesInStudy must be a list of at most {_MOST_MODALITIES}.")
    return modalities


def _narrowed(listed: tuple[str, ...], in_path: str | None) -> tuple[str, ...]:
    if in_path is None:
        return listed
    if listed and in_path not in listed:
        return ("",)  # nothing has an empty UID
    return (in_path,)


def _included(values: Iterable[str]) -> tuple[frozenset[str], bool]:
    names = [name.strip() for value in values for name in value.split(",")]
    tags = {_tag(name) for name in names if _names_attribute(name)}
    return frozenset(tags), "all" in names


def _names_attribute(name: str) -> bool:
    """Return whether it is an attribute of the dictionary; others, and nested ones, are never answered."""
    if _TAG.fullmatch(name):
        return bool(keyword_for_tag(int(name, 16)))
    return tag_for_keyword(name) is not None


def _number(parameters: MultiDict[str, str], name: str, default: int) -> int:
    text = parameters.get(name)
    if text is None or text == "":
        return default
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise _bad(f"{name} must be a whole number, 0 or more.")
    return int(text)


def _shown(name: str) -> str:
    return name[:64] if name.isascii() and name.isprintable() else "A name"


def _bad(description: str) -> ServiceError:
    return ServiceError(Code.INVALID_REQUEST_FIELD_ERROR, description)
