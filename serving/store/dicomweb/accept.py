"""What a client accepts (PS3.18, 8.7; RFC 9110, 12.5.1), and which of it an answer can be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dicom_io.web.multipart import media_type
from serving.errors import Code, ServiceError

RELATED = "multipart/related"
_MOST_RANGES = 100


@dataclass(frozen=True, slots=True)
class MediaRange:
    """One media type that is accepted, perhaps with wildcards.

    Attributes
    ----------
    kind:
        The media type; of a multipart one that of its parts.
    is_multipart:
        ``None`` for ``*/*``, which may be either.
    syntax:
        The transfer syntax that is asked for, ``*`` for any; empty where none is named.
    quality:
        How much it is wanted, 0 to 1.
    """

    kind: str
    is_multipart: bool | None
    syntax: str
    quality: float

    def covers(self, kind: str) -> bool:
        """Return whether a media type is of this range."""
        if self.kind in ("*/*", kind):
            return True
        return self.kind.endswith("/*") and kind.startswith(self.kind[:-1])


ANYTHING = MediaRange("*/*", None, "*", 1.0)


def accepted(header: str | None) -> list[MediaRange]:
    """Return what an Accept header names, what is wanted most first; without one, anything.

    Raises
    ------
    ServiceError
        INVALID_REQUEST_FIELD_ERROR when it names too much.
    """
    texts = list(_split(header or ""))
    if len(texts) > _MOST_RANGES:
        raise ServiceError(Code.INVALID_REQUEST_FIELD_ERROR, "The Accept header names too many media types.")
    ranges = [found for text in texts if (found := _range(text)).quality > 0]
    if not texts:
        return [ANYTHING]
    return sorted(ranges, key=lambda one: -one.quality)


def require(ranges: Sequence[MediaRange], *kinds: str) -> str:
    """Return the first of some media types, not multipart, that is accepted.

    Raises
    ------
    ServiceError
        NOT_ACCEPTABLE_ERROR
    """
    for one in ranges:
        for kind in kinds:
            if one.is_multipart is not True and one.covers(kind):
                return kind
    raise not_acceptable(f"This is answered as {' or '.join(kinds)}.")


def not_acceptable(what_is: str) -> ServiceError:
    """Return the error of a request that accepts nothing that there is."""
    return ServiceError(
        Code.NOT_ACCEPTABLE_ERROR, f"Nothing that the Accept header names can be sent. {what_is}"
    )


def _range(text: str) -> MediaRange:
    kind, parameters = media_type(text)
    try:
        quality = min(1.0, max(0.0, float(parameters.get("q", "1"))))
    except ValueError:
        quality = 1.0
    syntax = parameters.get("transfer-syntax", "")
    if kind == "*/*":
        return MediaRange("*/*", None, syntax or "*", quality)
    if kind == RELATED:
        # Some clients put the parameters of the parts into the quotes of their type.
        inner, more = media_type(parameters.get("type") or "*/*")
        return MediaRange(inner, True, syntax or more.get("transfer-syntax", ""), quality)
    return MediaRange(kind, False, syntax, quality)


def _split(header: str) -> Iterator[str]:
    """Yield the items of a list, whose separators may also stand in quoted texts."""
    start, quoted = 0, False
    for at, character in enumerate(header):
        if character == '"':
            quoted = not quoted
        elif character == "," and not quoted:
            if item := header[start:at].strip():
                yield item
            start = at + 1
    if item := header[start:].strip():
        yield item
