"""Which slides a command line names: those of ``pathserve embed``, and what a store finds for a query."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

from dicom_io.errors import ImageCode, ImageError
from dicom_io.web.credentials import BearerToken
from dicom_io.web.http import HttpStore, read_limited
from dicom_io.web.patience import Patience
from dicom_io.web.urls import StoreUrl, parse_url
from serving.batch.worklist import NamedSlide, Worklist, WorklistError, worklist

_JSON = "application/dicom+json"
_PAGE = 500
_MOST_PAGES = 2000
_MOST_BYTES = 64 << 20
_DEADLINE_S = 600.0
_STUDY, _SERIES = "0020000D", "0020000E"


def named_slides(wheres: Sequence[str], http: HttpStore, token: BearerToken | None) -> tuple[NamedSlide, ...]:
    """Return the slides that arguments name; an address with a question mark is a query.

    Raises
    ------
    WorklistError
        When one of them names none, or two outputs would have the same name.
    ImageError
        When a store does not answer a query.
    """
    addresses: list[str] = []
    for where in wheres:
        addresses += list(_found(where, http, token)) if _is_query(where) else [where]
    if not addresses:
        raise WorklistError(
            "The query finds no series; try it with curl, and Accept: application/dicom+json."
        )
    found: Worklist = worklist(addresses)
    return found.slides


def _is_query(where: str) -> bool:
    return where.startswith(("https://", "http://")) and "?" in where


def _found(where: str, http: HttpStore, token: BearerToken | None) -> Iterator[str]:
    """Yield the addresses of the series that a query for series finds (PS3.18, section 10.6)."""
    address, _, query = where.partition("?")
    try:
        url = parse_url(address)
    except ValueError as error:
        raise WorklistError(f"{where}: {error}.") from None
    if url.segments[-1:] != ("series",) or not query.isprintable() or any(c in query for c in " #\\"):
        raise WorklistError(f"{where} is no query for series: https://HOST/PREFIX/series?Modality=SM.")
    prefix = url.segments[: -3 if url.segments[-3:-2] == ("studies",) else -1]
    store = StoreUrl(url.scheme, url.host, url.port, prefix)
    seen: set[str] = set()
    for page in range(_MOST_PAGES):
        some = [_address(store, one) for one in _asked(url, query, page, http, token)]
        new = [one for one in some if one not in seen]
        seen.update(new)
        yield from new
        if not new:  # a store that knows no offset gives all at once, again and again
            return


def _asked(url: StoreUrl, query: str, page: int, http: HttpStore, token: BearerToken | None) -> list[Any]:
    paged = f"{query}&limit={_PAGE}&offset={page * _PAGE}"
    asked = StoreUrl(url.scheme, url.host, url.port, url.segments, paged)
    patience = Patience(time.monotonic() + _DEADLINE_S)
    data = http.read(asked, _JSON, token, patience, lambda answer: read_limited(answer, _MOST_BYTES))
    try:
        found = json.loads(data) if data.strip() else []  # 204 where nothing was found
    except ValueError:
        found = None
    if not isinstance(found, list):
        raise ImageError(ImageCode.HTTP_ERROR, f"The store at {url.host} answered the query with no list.")
    return found


def _address(store: StoreUrl, found: Any) -> str:
    try:
        study, series = (str(found[tag]["Value"][0]) for tag in (_STUDY, _SERIES))
    except (KeyError, IndexError, TypeError):
        raise ImageError(
            ImageCode.HTTP_ERROR, f"The store at {store.host} found a series without its UIDs."
        ) from None
    return str(store.child("studies", study, "series", series))
