"""The part of Slide Score's API that an analysis needs, for one slide and with one caller's token.

Sources: https://www.slidescore.com/docs/api.html and the public Python SDK (slidescore-sdk 1.5.4). Names of
fields are compared without regard to case: servers differ.
"""

from __future__ import annotations

import base64
import math
import re
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlencode

import orjson

from dicom_io.errors import ImageCode, ImageError
from dicom_io.waiting import Cancellation
from dicom_io.web.credentials import BearerToken
from dicom_io.web.urls import UrlError, resolve_reference
from serving.webhooks.slidescore.transport import Call, Reply, SlideScoreStatus, Transport, Waits

MAX_TILE_BYTES = 8 << 20
UPLOAD_PIECE = 8 << 20
"""Bytes of an upload that are sent at once."""

_COOKIE_EXPIRED = (401, 403, 503)
_COOKIE = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]{1,4096}")
"""What a cookie's value may be made of (RFC 6265, section 4.1.1)."""

_SEGMENT = re.compile(r"[A-Za-z0-9_~=+@!-][A-Za-z0-9_~=+@!.-]*")
_LARGEST_SIDE = 1 << 24
_RENEW_BEFORE_S = 5.0
_TUS = {"Tus-Resumable": "1.0.0"}


@dataclass(frozen=True, slots=True)
class SlideFacts:
    """What the metadata says about a slide.

    Attributes
    ----------
    width, height:
        Of level 0, in pixels.
    um_per_px:
        Size of its pixels in µm.
    """

    width: int
    height: int
    um_per_px: float


@dataclass(frozen=True, slots=True)
class TileGrid:
    """How levels are cut into tiles (Deep Zoom).

    Attributes
    ----------
    side:
        Pixels along an edge of a tile, without overlap.
    overlap:
        Pixels that a tile shares with each neighbour.
    """

    side: int
    overlap: int


@dataclass(frozen=True, slots=True)
class _TileServer:
    path: tuple[str, ...]
    cookie: str = field(repr=False)
    good_until: float
    """``time.monotonic()`` seconds."""


class SlideScoreClient:
    """Talks to one server about one slide.

    Parameters
    ----------
    token:
        The analysis' own; it is sent to this server alone.
    waits:
        Ends what the job waits for.
    """

    def __init__(self, transport: Transport, token: BearerToken, image_id: int, waits: Cancellation) -> None:
        self._transport = transport
        self._token = token
        self._image_id = image_id
        self._waits = Waits(waits.deadline, waits.stop)
        self._lock = threading.Lock()
        self._tile_server: _TileServer | None = None

    @property
    def host(self) -> str:
        """Name of the server."""
        return self._transport.server.host

    # The slide

    def facts(self) -> SlideFacts:
        """Return the size of the slide and of its pixels.

        Raises
        ------
        ImageError
            When the server cannot be reached or refuses, or its metadata cannot be used.
        """
        answer = self._api("GET", "GetImageMetadata", {"imageid": self._image_id})
        inner = answer.get("metadata")
        found = _lower(inner) if isinstance(inner, dict) else answer
        width, height = (_whole(found.get(name), name) for name in ("level0width", "level0height"))
        across, down = (_spacing(found.get(name)) for name in ("mppx", "mppy"))
        if abs(across - down) > 0.02 * max(across, down):
            raise _unusable(f"the slide's pixels are not square ({across:g} x {down:g} µm)")
        return SlideFacts(width, height, (across + down) / 2)

    def grid(self) -> TileGrid:
        """Return how the slide is cut into tiles."""
        text = self._at_tile_server(("i.dzi",), 1 << 16).body.decode("utf-8", "replace")
        side, overlap = (_attribute(text, name) for name in ("TileSize", "Overlap"))
        if side is None or overlap is None or not 16 <= side <= 4096 or overlap > side // 2:
            raise _unusable("its tile server does not say how the slide is cut into tiles")
        return TileGrid(side, overlap)

    def tile(self, level: int, column: int, row: int) -> bytes:
        """Return an encoded tile.

        Parameters
        ----------
        level:
            Of the Deep Zoom pyramid: 0 is a single pixel.

        Raises
        ------
        ImageError
        """
        body = self._at_tile_server(("i_files", str(level), f"{column}_{row}.jpeg"), MAX_TILE_BYTES).body
        if not body:
            # Some servers answer so when they cannot read the slide.
            raise ImageError(ImageCode.HTTP_ERROR, f"Slide Score at {self.host} sent an empty tile.")
        return body

    def _at_tile_server(self, below: tuple[str, ...], limit: int) -> Reply:
        """Ask the tile server, once more with a new cookie where it refuses the one it has given."""
        server = self._renewed(None)
        try:
            return self._from(server, below, limit)
        except SlideScoreStatus as error:
            if error.status not in _COOKIE_EXPIRED:
                raise
        return self._from(self._renewed(server), below, limit)

    def _from(self, server: _TileServer, below: tuple[str, ...], limit: int) -> Reply:
        # The cookie alone: it is all that the tile server needs.
        call = Call("GET", server.path + below, headers={"Cookie": f"t={server.cookie}"}, limit=limit)
        return self._transport.send(call, self._waits)

    def _renewed(self, refused: _TileServer | None) -> _TileServer:
        """Return a tile server whose cookie has not been refused; threads that meet share one renewal."""
        with self._lock:
            known = self._tile_server
            if known is None or known is refused or time.monotonic() >= known.good_until:
                known = self._tile_server = self._ask_for_tile_server()
            return known

    def _ask_for_tile_server(self) -> _TileServer:
        answer = self._api("GET", "GetTileServer", {"imageid": self._image_id})
        part, cookie = answer.get("urlpart"), answer.get("cookiepart")
        segments = tuple(part.strip("/").split("/")) if isinstance(part, str) else ()
        if not segments or not all(_SEGMENT.fullmatch(segment) for segment in segments):
            raise _unusable("it does not say where its tiles are")
        if not isinstance(cookie, str) or not _COOKIE.fullmatch(cookie):
            raise _unusable("its tile server's cookie cannot be sent")
        left = _seconds_until(answer.get("expireson"))
        # One in the past tells of a clock that differs from this one: then the server's refusal decides.
        good_until = (
            time.monotonic() + left - _RENEW_BEFORE_S if left and left > _RENEW_BEFORE_S else math.inf
        )
        return _TileServer(("i", str(self._image_id), *segments), cookie, good_until)

    # Results

    def upload_anno2(self, archive: bytes) -> str:
        """Upload an annotation and return its UUID.

        Raises
        ------
        ImageError
            When it was not taken as a whole.
        """
        made = self._api("POST", "CreateOrphanAnno2", {})
        token, uuid = made.get("uploadtoken"), made.get("annouuid")
        if not isinstance(token, str) or not token or not isinstance(uuid, str) or not uuid:
            raise _unusable("it made no place for the result")
        file = self._tus(archive, token)
        call = self._call("POST", "FinishUpload", {"id": file, "token": token}, repeatable=False)
        if self._transport.send(call, self._waits).body.strip() not in (b'"OK"', b"OK"):
            raise _unusable("it did not accept the upload")
        return uuid

    def _tus(self, data: bytes, upload_token: str) -> str:
        """Upload a file by the TUS protocol (https://tus.io, 1.0.0); return its name at the server."""
        about = {"uploadtoken": upload_token, "apitoken": self._token.reveal()}
        headers = {
            **_TUS,
            "Authorization": self._token.authorization(),
            "Upload-Length": str(len(data)),
            "Upload-Metadata": ",".join(
                f"{name} {base64.b64encode(value.encode()).decode('ascii')}" for name, value in about.items()
            ),
        }
        create = Call("POST", ("files", ""), headers=headers, body=b"", repeatable=False)
        location = self._transport.send(create, self._waits).headers.get("location", "")
        where = self._own(location)
        for start in range(0, len(data), UPLOAD_PIECE):
            self._patch(where, data, start)
        return where[-1]

    def _patch(self, where: tuple[str, ...], data: bytes, start: int) -> None:
        piece = data[start : start + UPLOAD_PIECE]
        headers = {
            **_TUS,
            "Authorization": self._token.authorization(),
            "Upload-Offset": str(start),
            "Content-Type": "application/offset+octet-stream",
        }
        call = Call("PATCH", where, headers=headers, body=piece, repeatable=False)
        offset = self._transport.send(call, self._waits).headers.get("upload-offset")
        if offset != str(start + len(piece)):
            raise _unusable("it took only a part of the upload")

    def _own(self, location: str) -> tuple[str, ...]:
        """Return the path, below the server's address, of an upload that is at the server itself."""
        server = self._transport.server
        try:
            found = resolve_reference(server.child("files", ""), location)
        except UrlError as error:
            raise _unusable("it gave no address to upload to") from error
        below = found.segments[len(server.segments) :]
        inside = found.origin == server.origin and found.segments[: len(server.segments)] == server.segments
        if not inside or not below or found.query or not all(_SEGMENT.fullmatch(one) for one in below):
            raise _unusable("it gave an address to upload to that is not its own")
        return below

    # The token

    def token_works(self) -> bool:
        """Return whether the server still takes the token.

        Raises
        ------
        ImageError
            When it cannot be known.
        """
        try:
            self._api("GET", "GetImageMetadata", {"imageid": self._image_id})
        except SlideScoreStatus as error:
            if error.status in (401, 403):
                return False
            raise
        return True

    def give_up_token(self, deadline: float) -> None:
        """Make the token useless.

        Parameters
        ----------
        deadline:
            ``time.monotonic()`` seconds: the job's own may have passed.

        Raises
        ------
        ImageError
            When the server did not say that it has done so.
        """
        self._transport.send(self._call("POST", "GiveUpToken", {}, repeatable=False), Waits(deadline))

    # The API

    def _call(self, method: str, name: str, fields: dict[str, str | int], *, repeatable: bool = True) -> Call:
        headers = {"Accept": "application/json", "Authorization": self._token.authorization()}
        if method == "GET":
            return Call(method, ("Api", name), fields, headers, repeatable=repeatable)
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        return Call(method, ("Api", name), {}, headers, urlencode(fields).encode(), repeatable=repeatable)

    def _api(self, method: str, name: str, fields: dict[str, str | int]) -> dict[str, object]:
        """Return an answer's fields by their names in lower case; one of ``success: false`` is refused."""
        body = self._transport.send(
            self._call(method, name, fields, repeatable=method == "GET"), self._waits
        ).body
        try:
            answer = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise _unusable(f"its answer to {name} is not JSON") from error
        if not isinstance(answer, dict):
            raise _unusable(f"its answer to {name} is not an object")
        found = _lower(answer)
        if found.get("success") is False:
            raise ImageError(ImageCode.HTTP_ERROR, f"Slide Score refused {name} for this slide.")
        return found


def _unusable(what: str) -> ImageError:
    return ImageError(ImageCode.HTTP_ERROR, f"Slide Score's answer cannot be used: {what}.")


def _lower(fields: dict[str, object]) -> dict[str, object]:
    return {name.lower(): value for name, value in fields.items()}


def _whole(value: object, name: str) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= _LARGEST_SIDE:
        raise _unusable(f"the metadata gives no {name}")
    return value


def _spacing(value: object) -> float:
    number = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
    if not 0 < number < math.inf:
        raise ImageError(
            ImageCode.IMAGE_ERROR,
            "Slide Score does not know the size of this slide's pixels (mppX, mppY), which an analysis "
            "needs; set it in the slide's properties.",
        )
    return number


def _attribute(xml: str, name: str) -> int | None:
    found = re.search(rf"\b{name}\s*=\s*[\"'](\d{{1,6}})[\"']", xml)
    return None if found is None else int(found.group(1))


def _seconds_until(text: object) -> float | None:
    """Return how long a moment in ISO 8601 is ahead; ``None`` for anything else."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - datetime.now(UTC)).total_seconds()
