"""The part of Slide Score's API that an analysis needs, for one slide and with one caller's token."""

from __future__ import annotations

import math
import re
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from dicom_io.errors import ImageCode, ImageError
from dicom_io.waiting import Cancellation
from dicom_io.web.credentials import BearerToken
from serving.webhooks.slidescore.api import SEGMENT, Api, lower, unusable
from serving.webhooks.slidescore.upload import upload_anno2
from serving.webhooks.transport import Call, Reply, StatusError, Transport, Waits

MAX_TILE_BYTES = 8 << 20
_COOKIE_EXPIRED = (401, 403, 503)
_COOKIE = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]{1,4096}")
"""What a cookie's value may be made of (RFC 6265, section 4.1.1)."""

_LARGEST_SIDE = 1 << 24
_LARGEST_TILE = 2048
"""Of larger ones, the few that a job keeps would not be enough for a row of patches."""

_RENEW_BEFORE_S = 5.0


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
        self._api = Api(transport, token, Waits(waits.deadline, waits.stop))
        self._image_id = image_id
        self._lock = threading.Lock()
        self._tile_server: _TileServer | None = None

    @property
    def host(self) -> str:
        """Name of the server."""
        return self._api.transport.server.host

    # The slide

    @property
    def name(self) -> str:
        """What tells the slide from all others: its server and its number there."""
        return f"{self.host}/{self._image_id}"

    def facts(self) -> SlideFacts:
        """Return the size of the slide and of its pixels.

        Raises
        ------
        ImageError
            When the server cannot be reached or refuses, or its metadata cannot be used.
        """
        answer = self._api.ask("GET", "GetImageMetadata", {"imageid": self._image_id})
        inner = answer.get("metadata")
        found = lower(inner) if isinstance(inner, dict) else answer
        width, height = (_whole(found.get(name), name) for name in ("level0width", "level0height"))
        across, down = (_spacing(found.get(name)) for name in ("mppx", "mppy"))
        if abs(across - down) > 0.02 * max(across, down):
            raise unusable(f"the slide's pixels are not square ({across:g} x {down:g} µm)")
        return SlideFacts(width, height, (across + down) / 2)

    def grid(self) -> TileGrid:
        """Return how the slide is cut into tiles."""
        text = self._at_tile_server(("i.dzi",), 1 << 16).body.decode("utf-8", "replace")
        side, overlap = (_attribute(text, name) for name in ("TileSize", "Overlap"))
        if side is None or overlap is None or not 16 <= side <= _LARGEST_TILE or overlap > side // 2:
            raise unusable("its tile server does not say how the slide is cut into tiles")
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
        except StatusError as error:
            if error.status not in _COOKIE_EXPIRED:
                raise
        return self._from(self._renewed(server), below, limit)

    def _from(self, server: _TileServer, below: tuple[str, ...], limit: int) -> Reply:
        # The cookie alone: it is all that the tile server needs.
        call = Call("GET", server.path + below, headers={"Cookie": f"t={server.cookie}"}, limit=limit)
        return self._api.send(call)

    def _renewed(self, refused: _TileServer | None) -> _TileServer:
        """Return a tile server whose cookie has not been refused; threads that meet share one renewal."""
        with self._lock:
            known = self._tile_server
            if known is None or known is refused or time.monotonic() >= known.good_until:
                known = self._tile_server = self._ask_for_tile_server()
            return known

    def _ask_for_tile_server(self) -> _TileServer:
        answer = self._api.ask("GET", "GetTileServer", {"imageid": self._image_id})
        part, cookie = answer.get("urlpart"), answer.get("cookiepart")
        segments = tuple(part.strip("/").split("/")) if isinstance(part, str) else ()
        if not segments or not all(SEGMENT.fullmatch(segment) for segment in segments):
            raise unusable("it does not say where its tiles are")
        if not isinstance(cookie, str) or not _COOKIE.fullmatch(cookie):
            raise unusable("its tile server's cookie cannot be sent")
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
        return upload_anno2(self._api, archive)

    # The token

    def token_works(self) -> bool:
        """Return whether the server still takes the token, be there such a slide or not.

        Raises
        ------
        ImageError
            When it cannot be known.
        """
        call = self._api.call("GET", "GetImageMetadata", {"imageid": self._image_id}, repeatable=True)
        try:
            self._api.send(call)
        except StatusError as error:
            if error.status not in (400, 401, 403, 404):
                raise
            return error.status in (400, 404)
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
        call = self._api.call("POST", "GiveUpToken", {}, repeatable=False)
        self._api.transport.send(call, Waits(deadline))


def _whole(value: object, name: str) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= _LARGEST_SIDE:
        raise unusable(f"the metadata gives no {name}")
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
