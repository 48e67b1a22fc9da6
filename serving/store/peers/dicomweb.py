"""A peer's DICOMweb: what is asked of it, and how its answers are read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from serving.store.dicomweb.stow_body import BadBody, Taker, UnknownMediaType, read_parts
from serving.store.peers.http import PeerFailed, Web
from serving.store.uids import is_uid

SOP_INSTANCE, SERIES_INSTANCE = "00080018", "0020000E"
_PAGE = 500
_MAX_PAGES = 2000
_AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'


class InstanceBody:
    """One instance as a multipart body, read from its file as it is sent; may be sent again."""

    BOUNDARY = "pathserve-one-instance"
    CONTENT_TYPE = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
    _HEAD = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    _TAIL = f"\r\n--{BOUNDARY}--\r\n".encode()
    _PIECE = 1 << 20

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = path.stat().st_size

    def __len__(self) -> int:
        return len(self._HEAD) + self._size + len(self._TAIL)

    def __iter__(self) -> Iterator[bytes]:
        yield self._HEAD
        with self._path.open("rb") as file:
            while piece := file.read(self._PIECE):
                yield piece
        yield self._TAIL


class AnswerStream:
    """An answer's body as something to read from."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        """Return at most so many bytes; none at the end."""
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._left = memoryview(piece)
        taken, self._left = self._left[:size], self._left[size:]
        return bytes(taken)


def series_of(web: Web, study: str) -> list[str]:
    """Return the Series Instance UIDs of a study."""
    return [str(value(row, SERIES_INSTANCE)) for row in found(web, f"/studies/{study}/series")]


def instances_of(web: Web, study: str, series: str) -> list[str]:
    """Return the SOP Instance UIDs of a series."""
    return [
        str(value(row, SOP_INSTANCE)) for row in found(web, f"/studies/{study}/series/{series}/instances")
    ]


def found(web: Web, path: str) -> Iterator[dict[str, Any]]:
    """Yield what a search finds, page by page (PS3.18, 8.3.4.4).

    Raises
    ------
    PeerFailed
    """
    key = SOP_INSTANCE if path.endswith("/instances") else SERIES_INSTANCE
    seen: set[str] = set()
    begin = 0
    for _ in range(_MAX_PAGES):  # which may be shorter than was asked for
        rows = web.json("GET", path, params={"limit": _PAGE, "offset": begin})
        rows = [] if rows is None else rows
        if not isinstance(rows, list):
            raise PeerFailed("The peer's answer to a search is no list.")
        # A store that knows no offset gives the first page again and again.
        new = [row for row in rows if isinstance(row, dict) and _is_new(str(value(row, key)), seen)]
        yield from new
        begin += len(rows)
        if not new:
            return


def retrieve(web: Web, study: str, series: str, sop: str, taker: Taker) -> None:
    """Give an instance, as the peer has it, to a taker.

    Raises
    ------
    PeerFailed
    """
    path = f"/studies/{study}/series/{series}/instances/{sop}"
    with web.answer("GET", path, headers={"Accept": _AS_STORED}) as answer:
        try:
            kind = answer.headers.get("Content-Type", "")
            read_parts(AnswerStream(web.pieces(answer)), kind, _length(answer), taker)
        except (BadBody, UnknownMediaType) as error:
            raise PeerFailed(f"The peer's answer cannot be read: {error}", may_pass=True) from None


def value(row: dict[str, Any], tag: str) -> Any:
    """Return the first value of an attribute in DICOM JSON (PS3.18, F.2); empty where there is none."""
    try:
        return row[tag]["Value"][0]
    except (KeyError, IndexError, TypeError):
        return ""


def _is_new(uid: str, seen: set[str]) -> bool:
    if uid in seen or not is_uid(uid):
        return False
    seen.add(uid)
    return True


def _length(answer: requests.Response) -> int | None:
    if answer.headers.get("Content-Encoding"):
        return None
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None
