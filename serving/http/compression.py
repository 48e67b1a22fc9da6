"""Answers by gzip or zstd, where the client accepts that and it pays (RFC 9110, 12.5.3; RFC 8878).

It is done in the request's own thread. An answer holds vectors, coordinates and descriptions of errors, and
nothing that whoever asked may not know, so its length gives nothing away (as BREACH would need).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import imagecodecs
from flask import Response
from werkzeug.datastructures import Accept

from serving.errors import Code, ServiceError

SMALLEST = 1 << 14
"""Bytes: a shorter answer goes in TCP's first ten segments (RFC 6928), in one round trip as it is."""

_LEVEL = 1
_IDENTITY = "identity"


class Coding(StrEnum):
    """Content codings, what is done faster first."""

    ZSTD = "zstd"
    GZIP = "gzip"


class Kind(StrEnum):
    """What an answer is made of, as far as a coding cares."""

    NUMBERS = "JSON with vectors as lists of numbers"
    BASE64 = "JSON with vectors as base64"
    BINARY = "Arrow"


PAYS: Mapping[Kind, frozenset[Coding]] = {
    Kind.NUMBERS: frozenset(Coding),
    Kind.BASE64: frozenset(Coding),
    Kind.BINARY: frozenset({Coding.ZSTD}),
}
"""By which codings an answer is there sooner over a line of 100 Mbit/s, the time of both ends' processors
included (``python -m tests.benchmarks.encodings``)."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a client accepts of what there is.

    Attributes
    ----------
    coding:
        What it likes best; ``None`` for an answer as it is.
    is_required:
        Whether it refuses the answer as it is.
    """

    coding: Coding | None = None
    is_required: bool = False

    def of(self, kind: Kind, size: int) -> Coding | None:
        """Return the coding of an answer of so many bytes."""
        if self.coding is None or self.is_required:
            return self.coding
        return self.coding if size >= SMALLEST and self.coding in PAYS[kind] else None


def accepted(header: Accept, *, offers: bool) -> Accepted:
    """Return what a client accepts.

    Parameters
    ----------
    header:
        Its Accept-Encoding; an empty one wants the answer as it is.
    offers:
        Whether codings are offered to it beyond what it requires.

    Raises
    ------
    ServiceError
        NOT_ACCEPTABLE_ERROR when it refuses the answer as it is, and every coding.
    """
    best = max(Coding, key=header.quality)  # of two that are liked alike, the first
    liking, plain = header.quality(best), header.quality(_IDENTITY)
    is_required = plain == 0 and header.find(_IDENTITY) >= 0  # named, or by a wildcard
    names_plain = any(name.lower() == _IDENTITY for name, _ in header)
    if liking > 0 and (is_required or (offers and not (names_plain and plain > liking))):
        return Accepted(best, is_required)
    if is_required:
        raise ServiceError(
            Code.NOT_ACCEPTABLE_ERROR,
            f"Nothing that the Accept-Encoding header names can be sent; this is sent as {', '.join(Coding)} "
            f"or {_IDENTITY}.",
        )
    return Accepted()


def compress(response: Response, coding: Coding) -> None:
    """Replace an answer's body."""
    body = response.get_data()
    encode = imagecodecs.zstd_encode if coding is Coding.ZSTD else imagecodecs.gzip_encode
    response.set_data(bytes(encode(body, level=_LEVEL)))
    response.headers["Content-Encoding"] = coding
