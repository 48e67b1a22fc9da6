"""Identifiers of C-FIND: what a peer asks for, and what it is answered (PS3.4, C.4.1 and C.6.2)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pydicom.charset import convert_encodings, decode_bytes, python_encoding
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from werkzeug.datastructures import MultiDict

from serving.errors import ServiceError
from serving.store.dicomweb.parameters import parse_search
from serving.store.doors.find_status import BadIdentifier, FindStatus
from serving.store.index.attributes import ATTRIBUTES, Level
from serving.store.index.query import Found, Query
from serving.store.uids import is_uid

_LEVELS: Final = {"STUDY": Level.STUDY, "SERIES": Level.SERIES, "IMAGE": Level.INSTANCE}
_CHARACTER_SET, _LEVEL = "00080005", "00080052"
_NOT_KEYS = (_CHARACTER_SET, _LEVEL, "00080201")  # the third: offset of times from UTC
_UNIQUE: Final = {Level.STUDY: "0020000D", Level.SERIES: "0020000E", Level.INSTANCE: "00080018"}
_MOST_KEYS = 500
_DELIMITERS: Final = {*map(ord, "\\^=")}
"""Characters after which an encoding starts anew (PS3.5, 6.1.2.5.3)."""

_Value = str | int | list[str]
_COMPUTED: Mapping[str, tuple[frozenset[Level], Callable[[Found], _Value]]] = {
    "0020000D": (frozenset(Level), lambda found: found.study),
    "0020000E": (frozenset({Level.SERIES, Level.INSTANCE}), lambda found: found.series),
    "00080018": (frozenset({Level.INSTANCE}), lambda found: found.sop),
    "00080056": (frozenset(Level), lambda _: "ONLINE"),
    "00080061": (frozenset({Level.STUDY}), lambda found: list(found.modalities)),
    "00083002": (frozenset({Level.INSTANCE}), lambda found: found.transfer_syntax),
    "00201206": (frozenset({Level.STUDY}), lambda found: found.series_count),
    "00201208": (frozenset({Level.STUDY}), lambda found: found.instance_count),
    "00201209": (frozenset({Level.SERIES}), lambda found: found.instance_count),
}
_MATCHED = frozenset({*_UNIQUE.values(), "00080061", "00083002"})
_BY_TAG = {attribute.tag: attribute for attribute in ATTRIBUTES}


@dataclass(frozen=True, slots=True)
class Asked:
    """What an identifier asks for.

    Attributes
    ----------
    keys:
        Tags of the keys that are answered, in order.
    ignores:
        Whether it has keys that are neither matched nor answered here (PS3.4, C.4.1.1.4: FF01H).
    """

    level: Level
    query: Query
    keys: tuple[str, ...]
    ignores: bool

    @property
    def pending(self) -> FindStatus:
        """The status of each match."""
        return FindStatus.PENDING_WITHOUT_SOME_KEYS if self.ignores else FindStatus.PENDING


def parse_identifier(identifier: Dataset) -> Asked:
    """Return what an identifier asks for; it must have been decoded from bytes, and nothing read of it yet.

    Raises
    ------
    BadIdentifier
        A900H where it does not fit the Study Root model, C000H where it cannot be read.
    """
    try:
        values = dict(_values(identifier))
    except BadIdentifier:
        raise
    except Exception as error:  # pydicom raises anything at hostile values
        raise BadIdentifier(FindStatus.UNABLE_TO_PROCESS, "The identifier cannot be read.") from error
    level = _LEVELS.get(values.get(_LEVEL) or "")
    if level is None:
        raise _unfit("QueryRetrieveLevel must be STUDY, SERIES or IMAGE.")
    _require_hierarchy(level, values)
    wanted = {tag: text for tag, text in values.items() if tag not in _NOT_KEYS}
    keys = tuple(sorted(tag for tag in wanted if _is_answered(level, tag)))
    conditions = MultiDict(
        {keyword_for_tag(int(tag, 16)): text for tag in keys if (text := wanted[tag]) and _is_matched(tag)}
    )
    try:
        search = parse_search(level, conditions)
    except ServiceError as error:
        raise BadIdentifier(FindStatus.UNABLE_TO_PROCESS, error.description) from error
    ignored = any(tag not in keys or (text and not _is_matched(tag)) for tag, text in wanted.items())
    return Asked(level, search.query, keys, ignored)


def answer_of(asked: Asked, found: Found) -> Dataset:
    """Return the identifier of a match: the keys that were asked for, empty where there is no value."""
    answer = Dataset()
    answer.QueryRetrieveLevel = next(name for name, level in _LEVELS.items() if level is asked.level)
    for tag in asked.keys:
        value = _value(tag, found)
        if isinstance(value, str) and not value.isascii():
            answer.SpecificCharacterSet = "ISO_IR 192"
        answer.add(_element(tag, value))
    return answer


def _values(identifier: Dataset) -> Iterator[tuple[str, str | None]]:
    """Yield tags and texts; ``None`` is the value of what is no text and no number, as a sequence."""
    if len(identifier) > _MOST_KEYS:
        raise BadIdentifier(FindStatus.UNABLE_TO_PROCESS, f"It has more than {_MOST_KEYS} keys.")
    encodings = _encodings(identifier)
    for tag in sorted(identifier.keys()):  # its elements would be read by pydicom, which warns
        if tag.element == 0:
            continue  # the length of a group
        name, value = f"{int(tag):08X}", identifier.get_item(tag).value
        if not value:
            yield name, ""
        elif not isinstance(value, bytes) or tag.is_private:
            yield name, None
        elif name in _BY_TAG and dictionary_VR(tag) in ("US", "UL"):
            yield name, str(int.from_bytes(value, "little"))
        else:
            yield name, decode_bytes(value, encodings, _DELIMITERS).strip(" \0")


def _encodings(identifier: Dataset) -> list[str]:
    tag = Tag(int(_CHARACTER_SET, 16))
    raw = identifier.get_item(tag).value or b"" if tag in identifier else b""
    names = [name.strip(" \0") for name in raw.decode("ascii").split("\\")]
    if not all(name in python_encoding for name in names):
        raise BadIdentifier(FindStatus.UNABLE_TO_PROCESS, "Its SpecificCharacterSet is not known.")
    return convert_encodings(names)


def _require_hierarchy(level: Level, values: Mapping[str, str | None]) -> None:
    """Require one UID of each level above, and none of those below (PS3.4, C.4.1.2.1)."""
    for other, tag in _UNIQUE.items():
        text = values.get(tag, "")
        if other < level and not (text and is_uid(text)):
            raise _unfit(f"{keyword_for_tag(int(tag, 16))} must be one UID at this level.")
        if other > level and text:
            raise _unfit(f"{keyword_for_tag(int(tag, 16))} must be empty at this level.")


def _is_answered(level: Level, tag: str) -> bool:
    if tag in _COMPUTED:
        return level in _COMPUTED[tag][0]
    return tag in _BY_TAG and _BY_TAG[tag].level <= level


def _is_matched(tag: str) -> bool:
    return tag in _MATCHED or tag in _BY_TAG


def _value(tag: str, found: Found) -> _Value:
    if tag in _COMPUTED:
        return _COMPUTED[tag][1](found)
    text = found.values.get(_BY_TAG[tag].column, "")
    return text.strip("\\") if _BY_TAG[tag].is_many else text


def _element(tag: str, value: _Value) -> DataElement:
    number = int(tag, 16)
    vr = dictionary_VR(number)
    if value != "":
        with contextlib.suppress(Exception):  # what came in may be no number, and is kept as it came
            typed = int(value) if vr in ("US", "UL") and isinstance(value, str) else value
            return DataElement(number, vr, typed, validation_mode=IGNORE)
    return DataElement(number, vr, None)


def _unfit(reason: str) -> BadIdentifier:
    return BadIdentifier(FindStatus.IDENTIFIER_DOES_NOT_MATCH, reason)
