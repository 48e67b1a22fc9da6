"""A stand-in for Slide Score on loopback: its API, its tile server, its uploads; and a user who clicks.

What it does is held to the vendor's own SDK by ``tests/integration/test_slidescore_sdk.py``.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote

from dicom_io.geometry import Rect
from tests.support.loopback import Handler, Loopback
from tests.support.tiled_slide import StoredSlide
from tests.support.tissue import encode

Answer = tuple[int, dict[str, str], bytes]


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asked: names of headers in lower case, fields of query and form by lower-case name."""

    method: str
    path: str
    headers: dict[str, str]
    fields: dict[str, str]
    body: bytes

    @property
    def token(self) -> str | None:
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token if scheme == "Bearer" else None

    @property
    def is_tile(self) -> bool:
        return self.path.startswith("/i/") and self.path.endswith(".jpeg")


@dataclass(slots=True)
class Behaviour:
    """How the server behaves.

    Attributes
    ----------
    override:
        Answers a request itself, unless it returns ``None``.
    pascal:
        Whether names of fields begin with capitals.
    nested:
        Whether metadata stands in a field of its own.
    cookie_uses:
        Tiles that a cookie is good for.
    expired:
        Status of a tile that is asked for with an old cookie.
    """

    override: Callable[[Request], Answer | None] | None = None
    pascal: bool = False
    nested: bool = True
    cookie_uses: int = 1_000_000_000
    expired: int = 503


@dataclass(slots=True)
class _Upload:
    length: int
    token: str
    data: bytearray = field(default_factory=bytearray)


class SlideScore:
    """The server; use it as a context manager.

    Attributes
    ----------
    slides:
        By image id.
    tokens:
        Those that are good.
    given_up:
        How often each token was given up.
    anno2:
        What was uploaded as a whole, by UUID.
    most_at_a_time:
        Most requests that were being answered at the same moment.
    """

    def __init__(
        self, slides: dict[int, StoredSlide] | None = None, behaviour: Behaviour | None = None
    ) -> None:
        self.slides = {1: StoredSlide(8000, 6000)} if slides is None else slides
        self.behaviour = behaviour or Behaviour()
        self.requests: list[Request] = []
        self.tokens: set[str] = set()
        self.given_up: Counter[str] = Counter()
        self.anno2: dict[str, bytes] = {}
        self.most_at_a_time = 0
        self._now = 0
        self._lock = threading.Lock()
        self._cookies: dict[str, int] = {}
        self._places: dict[str, str] = {}
        self._uploads: dict[str, _Upload] = {}
        server = self

        class SlideScoreHandler(Handler):
            def respond(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                request = _request(
                    self.command, self.path, dict(self.headers.items()), self.rfile.read(length)
                )
                with server._counted():
                    status, headers, body = server.answer(request)
                    self.answer(status, headers.items(), body)

            def do_PATCH(self) -> None:  # noqa: N802 -- http.server looks for it
                self.respond()

        self._server = Loopback(SlideScoreHandler)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.end()

    @property
    def origin(self) -> str:
        return self._server.origin

    def new_token(self) -> str:
        """Make a token, as a click does."""
        token = "eyJhbGciOi." + secrets.token_urlsafe(48)
        self.tokens.add(token)
        return token

    def tile_requests(self) -> list[Request]:
        return [request for request in self.requests if request.is_tile]

    def answer(self, request: Request) -> Answer:
        """Return status, headers and body."""
        self.requests.append(request)
        override = self.behaviour.override
        if override is not None and (special := override(request)) is not None:
            return special
        if request.path.startswith("/i/"):
            return self._tile_server(request)
        if request.token not in self.tokens and not request.path.startswith("/files"):
            return 401, {}, b""
        if request.path.startswith("/files"):
            return self._tus(request)
        name = request.path.removeprefix("/Api/")
        views: dict[str, Callable[[Request], Answer]] = {
            "GetImageMetadata": self._metadata,
            "GetTileServer": self._give_tile_server,
            "GetRawTile": self._raw_tile,
            "CreateOrphanAnno2": self._create,
            "FinishUpload": self._finish,
            "GiveUpToken": self._give_up,
        }
        view = views.get(name)
        return (404, {}, b"") if view is None else view(request)

    # The API

    def _metadata(self, request: Request) -> Answer:
        slide = self._slide(request)
        if slide is None:
            return self._json({"success": False, "log": "no such image"})
        facts: dict[str, object] = {
            "level0Width": slide.width,
            "level0Height": slide.height,
            "mppX": slide.mpp,
            "mppY": slide.mpp,
            "objectivePower": 40,
            "osdTileSize": slide.tile_side,
            "levelCount": slide.highest + 1,
        }
        nested: dict[str, object] = {"success": True, "metadata": self._named(facts)}
        return self._json(nested if self.behaviour.nested else {"success": True, **facts})

    def _give_tile_server(self, request: Request) -> Answer:
        cookie, part = secrets.token_urlsafe(24), secrets.token_hex(8)
        with self._lock:
            self._cookies[cookie] = self.behaviour.cookie_uses
            self._places[part] = request.fields.get("imageid", "")
        return self._json({"urlPart": part, "cookiePart": cookie, "expiresOn": "2099-01-01T00:00:00Z"})

    def _raw_tile(self, request: Request) -> Answer:
        slide = self._slide(request)
        numbers = [int(request.fields.get(name, "-1")) for name in ("x", "y", "width", "height", "level")]
        if slide is None or min(numbers) < 0 or max(numbers[2:4]) > 2000:
            return 400, {}, b""
        x, y, width, height, level = numbers
        region = Rect(x, y, width, height)
        return 200, {"Content-Type": "image/jpeg"}, encode(slide.pixels(level, region), "JPEG", quality=90)

    def _create(self, _: Request) -> Answer:
        token, name = f"FEU{secrets.token_hex(12)}", str(uuid.uuid4())
        with self._lock:
            self._places[token] = name
        return self._json({"success": True, "uploadToken": token, "annoUUID": name})

    def _finish(self, request: Request) -> Answer:
        upload = self._uploads.get(request.fields.get("id", ""))
        name = self._places.get(request.fields.get("token", ""))
        if upload is None or name is None or len(upload.data) != upload.length:
            return 200, {"Content-Type": "application/json"}, b'"Upload not found"'
        self.anno2[name] = bytes(upload.data)
        return 200, {"Content-Type": "application/json"}, b'"OK"'

    def _give_up(self, request: Request) -> Answer:
        token = request.token or ""
        with self._lock:
            self.given_up[token] += 1
            self.tokens.discard(token)
        return self._json({"success": True})

    # Tiles

    def _tile_server(self, request: Request) -> Answer:
        parts = request.path.split("/")[2:]
        image, place, rest = parts[0], parts[1], parts[2:]
        slide = self.slides.get(int(image)) if image.isdecimal() else None
        if slide is None or self._places.get(place) != image:
            return 404, {}, b""
        if not self._cookie_is_good(request):
            return self.behaviour.expired, {}, b""
        if rest == ["i.dzi"]:
            text = (
                '<?xml version="1.0" encoding="utf-8"?>'
                f'<Image TileSize="{slide.tile_side}" Overlap="{slide.overlap}" Format="jpeg" '
                'xmlns="http://schemas.microsoft.com/deepzoom/2008">'
                f'<Size Width="{slide.width}" Height="{slide.height}"/></Image>'
            )
            return 200, {"Content-Type": "application/xml"}, text.encode()
        if len(rest) != 3 or rest[0] not in ("i_files", "_files"):
            return 404, {}, b""
        column, _, row = rest[2].removesuffix(".jpeg").partition("_")
        data = slide.tile(int(rest[1]), int(column), int(row))
        return (404, {}, b"") if data is None else (200, {"Content-Type": "image/jpeg"}, data)

    def _cookie_is_good(self, request: Request) -> bool:
        cookie = request.headers.get("cookie", "").removeprefix("t=")
        with self._lock:
            left = self._cookies.get(cookie, 0)
            if left > 0:
                self._cookies[cookie] = left - 1
        return left > 0

    # Uploads

    def _tus(self, request: Request) -> Answer:
        if request.headers.get("tus-resumable") != "1.0.0":
            return 412, {"Tus-Version": "1.0.0"}, b""
        tus = {"Tus-Resumable": "1.0.0"}
        if request.method == "POST":
            about = _tus_metadata(request.headers.get("upload-metadata", ""))
            if about.get("apitoken") not in self.tokens or about.get("uploadtoken") not in self._places:
                return 401, tus, b""
            name = secrets.token_hex(16)
            self._uploads[name] = _Upload(int(request.headers["upload-length"]), about["uploadtoken"])
            return 201, tus | {"Location": f"/files/{name}"}, b""
        upload = self._uploads.get(request.path.removeprefix("/files/"))
        if upload is None:
            return 404, tus, b""
        if request.method == "PATCH":
            if int(request.headers.get("upload-offset", "-1")) != len(upload.data):
                return 409, tus, b""
            upload.data += request.body
            return 204, tus | {"Upload-Offset": str(len(upload.data))}, b""
        return 200, tus | {"Upload-Offset": str(len(upload.data)), "Upload-Length": str(upload.length)}, b""

    def _slide(self, request: Request) -> StoredSlide | None:
        number = request.fields.get("imageid", "")
        return self.slides.get(int(number)) if number.isdecimal() else None

    def _json(self, document: dict[str, object]) -> Answer:
        return 200, {"Content-Type": "application/json"}, json.dumps(self._named(document)).encode()

    def _named(self, fields: dict[str, object]) -> dict[str, object]:
        return {k[0].upper() + k[1:]: v for k, v in fields.items()} if self.behaviour.pascal else fields

    def _counted(self) -> _Counted:
        return _Counted(self)


class _Counted:
    """Counts the requests that are being answered."""

    def __init__(self, server: SlideScore) -> None:
        self._server = server

    def __enter__(self) -> None:
        server = self._server
        with server._lock:
            server._now += 1
            server.most_at_a_time = max(server.most_at_a_time, server._now)

    def __exit__(self, *_: object) -> None:
        with self._server._lock:
            self._server._now -= 1


def _request(method: str, target: str, headers: dict[str, str], body: bytes) -> Request:
    path, _, query = target.partition("?")
    lower = {name.lower(): value for name, value in headers.items()}
    fields = parse_qs(query)
    if lower.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        fields |= parse_qs(body.decode("ascii", "replace"))  # the vendor's SDK sends a form with GET, too
    flat = {name.lower(): values[0] for name, values in fields.items()}
    return Request(method, unquote(path), lower, flat, body)


def _tus_metadata(text: str) -> dict[str, str]:
    pairs = [item.strip().partition(" ") for item in text.split(",") if item.strip()]
    return {name: base64.b64decode(value).decode() for name, _, value in pairs}


PATIENT = "mrs.doe@hospital.example"
"""E-mail of the user who clicks; it must never be found anywhere."""

CASE = "Case of Jane Doe 1958-03-02"


def rect(x: object, y: object, width: object, height: object) -> str:
    """A drawn rectangle, as an answer's value."""
    return json.dumps([{"corner": {"x": x, "y": y}, "size": {"x": width, "y": height}}])


def clicked(server: SlideScore, secret: str, answers: dict[str, Any], /, **changed: Any) -> dict[str, Any]:
    """Return the body that a click sends with the template in the documents; ``...`` takes a field out."""
    body: dict[str, Any] = {
        "secret": secret,
        "host": server.origin,
        "studyid": 7,
        "imageid": 1,
        "imagename": "Jane Doe slide 3.svs",
        "caseid": 12,
        "casename": CASE,
        "email": PATIENT,
        "analysisid": 4,
        "analysisname": "Similar tissue",
        "answers": [{"name": name, "value": value} for name, value in answers.items()],
    }
    body |= changed
    if "apitoken" not in body:
        body["apitoken"] = server.new_token()
    return {name: value for name, value in body.items() if value is not ...}
