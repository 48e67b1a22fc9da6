"""What is asked of the index, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from serving.store.index.attributes import Attribute, Level


@dataclass(frozen=True, slots=True)
class Match:
    """A condition: an attribute has one of the values (PS3.4, C.2.2.2).

    Attributes
    ----------
    values:
        One of them has to match: each a text with ``*`` and ``?``, or where the attribute is a date or a time
        perhaps a range ``FROM-TO``.
    """

    attribute: Attribute
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for.

    Attributes
    ----------
    study, series, sop:
        UIDs of which one has to match; all where there are none.
    modalities:
        Of which the study has to have one, by the rules of ``Match``.
    transfer_syntaxes, origins:
        Of which an instance has to have one.
    limit, offset:
        Rows that are wanted, and how many before them are left out.
    """

    study: tuple[str, ...] = ()
    series: tuple[str, ...] = ()
    sop: tuple[str, ...] = ()
    matches: tuple[Match, ...] = ()
    modalities: tuple[str, ...] = ()
    transfer_syntaxes: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    limit: int = 1000
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """A study, a series or an instance.

    Attributes
    ----------
    study, series, sop:
        Its UIDs, as far as its level has them.
    values:
        Of the attributes of its level and of those above, by column; empty ones are left out.
    series_count, instance_count:
        Of a study both, of a series the instances in it.
    modalities:
        Of a study.
    transfer_syntax, frames, origin:
        Of an instance.
    added_at:
        Of an instance, in seconds since 1970.
    """

    level: Level
    study: str
    series: str = ""
    sop: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    series_count: int = 0
    instance_count: int = 0
    modalities: tuple[str, ...] = ()
    transfer_syntax: str = ""
    frames: int = 0
    size: int = 0
    origin: str = ""
    added_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of an answer, in the order of arrival, and how many follow them."""

    rows: tuple[Found, ...]
    remaining: int


@dataclass(frozen=True, slots=True)
class Stored:
    """An instance that the store has: what reading it takes.

    Attributes
    ----------
    path:
        Of the file, in the store's folder.
    size, sha256:
        Of the file's bytes.
    frames:
        How many there are.
    added_at:
        Seconds since 1970.
    """

    study: str
    series: str
    sop: str
    sop_class: str
    transfer_syntax: str
    size: int
    sha256: str
    path: str
    origin: str
    frames: int
    added_at: float


@dataclass(frozen=True, slots=True)
class Usage:
    """How much a store holds.

    Attributes
    ----------
    size:
        Bytes of all instances.
    """

    studies: int
    series: int
    instances: int
    size: int
