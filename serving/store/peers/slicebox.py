"""A Slicebox as a source: its REST API, which numbers what it has and answers page by page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from serving.store.dicomweb.stow_body import Taker
from serving.store.peers.http import PeerFailed, Web
from serving.store.peers.source import Remote

_PAGE = 100
_MAX_PAGES = 10_000
_DICOM = "application/dicom"


class SliceboxSource:
    """What a Slicebox has.

    What it says of its slides, as that they were anonymised, is not relied on: they are de-identified as any.
    """

    def __init__(self, web: Web) -> None:
        self._web = web

    def instances(self, study: str, series: str | None) -> Iterator[Remote]:
        """Yield the instances of a study, or of one series of it."""
        for number in self._series(study, series):
            for image in self._pages("/api/metadata/images", seriesid=number):
                yield Remote(study, "", _text(image, "sopInstanceUID"), address=str(_number(image)))

    def fetch(self, remote: Remote, taker: Taker) -> None:
        """Give an instance to a taker.

        Raises
        ------
        PeerFailed
        """
        with self._web.answer("GET", f"/api/images/{remote.address}", headers={"Accept": "*/*"}) as answer:
            announced = answer.headers.get("Content-Length", "")
            taker.begin(_DICOM)
            size = 0
            for piece in self._web.pieces(answer):
                size += len(piece)
                taker.data(memoryview(piece))
            if announced.isdecimal() and int(announced) != size:
                raise PeerFailed("An image did not come whole.", may_pass=True)
            taker.end()

    def _series(self, study: str, series: str | None) -> Iterator[int]:
        if series is not None:
            found = self._query("series", "seriesInstanceUID", series)
        else:
            studies = self._query("studies", "studyInstanceUID", study)
            found = [
                row for one in studies for row in self._pages("/api/metadata/series", studyid=_number(one))
            ]
        yield from (_number(row) for row in found)

    def _query(self, level: str, name: str, uid: str) -> list[dict[str, Any]]:
        asked = {
            "startIndex": 0,
            "count": _PAGE,
            "queryProperties": [{"propertyName": name, "operator": "=", "propertyValue": uid}],
        }
        return _rows(self._web.json("POST", f"/api/metadata/{level}/query", json=asked))

    def _pages(self, path: str, **of: int) -> Iterator[dict[str, Any]]:
        seen: set[int] = set()
        for _ in range(_MAX_PAGES):  # which may be shorter than was asked for
            asked = {**of, "startindex": len(seen), "count": _PAGE}
            rows = _rows(self._web.json("GET", path, params=asked))
            new = [row for row in rows if _number(row) not in seen]
            yield from new
            seen |= {_number(row) for row in new}
            if not new:
                return


def _rows(answer: Any) -> list[dict[str, Any]]:
    if not isinstance(answer, list) or not all(isinstance(row, dict) for row in answer):
        raise PeerFailed("The Slicebox's answer is not a list of what it has.")
    return answer


def _number(row: dict[str, Any]) -> int:
    number = row.get("id")
    if not isinstance(number, int):
        raise PeerFailed("The Slicebox's answer numbers nothing.")
    return number


def _text(row: dict[str, Any], name: str) -> str:
    """Return a value, which a Slicebox wraps in an object."""
    given = row.get(name)
    text = given.get("value") if isinstance(given, dict) else given
    return text if isinstance(text, str) else ""
