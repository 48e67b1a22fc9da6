"""The door of the page: its files, what it opens, tiles, and tables of vectors."""

from __future__ import annotations

import contextlib
import importlib
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType

import orjson
from flask import Blueprint, Response, request

from dicom_io.errors import ImageError
from dicom_io.geometry import Rect
from dicom_io.sources.session import ReadContext, ReadSession
from dicom_io.sources.shared_raster import RasterRegistry
from dicom_io.waiting import Cancellation
from dicom_io.web.credentials import BearerToken
from serving.api.fields import JsonObject, bad, is_object
from serving.api.response import error_body
from serving.config.settings import Settings
from serving.errors import TABLE, Code, Fault, ServiceError, fault_of
from serving.front.wsgi_bridge import RECEIVED, Received
from serving.heads.head import Head
from serving.http.access import ApiKeys
from serving.http.answers import JSON, answer_error
from serving.http.door import Door
from serving.http.static_files import PageFiles
from serving.pipeline.predictor import Predictor
from serving.view.folder import SlideFolder
from serving.view.guard import Guard
from serving.view.handles import parse_handle, series_handle
from serving.view.opening import described, described_model
from serving.view.picture import described_picture
from serving.view.plan import Planner
from serving.view.slides import SlideOpener, ViewedSlide
from serving.view.table_reader import TableReader
from serving.view.tiles import Tiles, thumbnail

STORE_TOKEN = "X-Store-Token"  # noqa: S105  (a header's name)
"""Header of the caller's token for the store of a series: in no address, and so in no log."""

POLICY = (
    "default-src 'none'; script-src 'self'; "
    # OpenSeadragon's one style element.
    "style-src 'self' 'sha256-9xTiqzfwFaL2SGb1rmr8gysEwVVjIvqWAgmZgqFqpEE='; "
    "img-src 'self'; connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)

TILE_S = 30.0
"""How long a tile may take, the wait for its store included."""

_JPEG = "image/jpeg"
_STATIC = Path(__file__).parent / "static"
_PAGE = "index.html"
_SCALES = (0.05, 32.0)
_UNPROCESSABLE = 422


def view_door(
    settings: Settings,
    predictor: Predictor,
    context: ReadContext,
    folder: SlideFolder,
    keys: ApiKeys,
    head: Head | None,
) -> Door:
    """Return the door.

    Parameters
    ----------
    folder:
        Slides that are listed.
    head:
        Whose scores the page shows.
    """
    routes = Blueprint("view", __name__)
    files = PageFiles(_STATIC, _PAGE, POLICY)
    views = _View(settings, predictor, context, folder, keys, head)
    guard = Guard(settings.view.hosts or ())

    def guarded() -> None:
        guard.require(request.headers, is_page=request.endpoint == "view.page")

    routes.before_request(guarded)
    routes.register_error_handler(ImageError, lambda error: _failed(fault_of(error.fault)))
    routes.register_error_handler(ServiceError, _refused)
    routes.add_url_rule("/view", "page", files.page)
    routes.add_url_rule("/view/static/<path:name>", "static", files.static)
    routes.add_url_rule("/view/slides", "slides", views.slides)
    routes.add_url_rule("/view/series", "series", views.series)
    routes.add_url_rule("/view/open", "open", views.open, methods=["POST"])
    routes.add_url_rule("/view/picture", "picture", views.picture, methods=["POST"])
    slide = "/view/slides/<handle>"
    routes.add_url_rule(f"{slide}/tiles/<int:level>/<int:column>_<int:row>.jpg", "tile", views.tile)
    region = "<int:x>_<int:y>_<int:width>_<int:height>.jpg"
    routes.add_url_rule(f"{slide}/regions/{region}", "region", views.region)
    routes.add_url_rule("/view/parquet", "write_parquet", views.write_parquet, methods=["POST"])
    routes.add_url_rule("/view/parquet/read", "read_parquet", views.read_parquet, methods=["POST"])
    with_body = frozenset({"open", "picture", "write_parquet", "read_parquet"})
    return Door(routes, with_body, frozenset({"slides", "series", "tile", "region"}))


class _View:
    def __init__(
        self,
        settings: Settings,
        predictor: Predictor,
        context: ReadContext,
        folder: SlideFolder,
        keys: ApiKeys,
        head: Head | None,
    ) -> None:
        self._predictor, self._context, self._keys, self._head = predictor, context, keys, head
        self._timeout_s = settings.requests.timeout_s
        self._predict_route = settings.http.predict_route
        self._has_folder = settings.view.folder is not None
        self._opener = SlideOpener(folder)
        self._planner = Planner(context.max_image_pixels)
        self._tiles = Tiles()
        self._table_reader = TableReader()

    def slides(self) -> Response:
        """Answer what may be opened, the model, and where patches are sent."""
        self._require_admitted()
        found = self._opener.folder.slides()
        return _json(
            {
                "slides": [{"slide": one.handle.text, "name": one.name} for one in found],
                "has_folder": self._has_folder,
                "has_store": self._context.lister is not None,
                "predict": self._predict_route,
                "model": described_model(self._predictor.require_ready()),
            }
        )

    def series(self) -> Response:
        """Answer the series of the store on this machine that the caller's token opens."""
        self._require_admitted()
        if self._context.lister is None:
            raise ServiceError(
                Code.NOT_FOUND_ERROR, "This service has no slide store of its own; enter a series' address."
            )
        found = self._context.lister.listed(_store_token())
        series = [{"series": str(one.path.url), "name": one.name} for one in found.series]
        return _json({"series": series, "remaining": found.remaining})

    def open(self) -> Response:
        """Open a slide."""
        asked = _object(_received().take_body())
        if (address := asked.get("series")) is not None:
            handle = str(series_handle(str(address)).text)
        else:
            handle = str(asked.get("slide"))
        scale = _scale(asked.get("mpp"))
        facts = self._predictor.require_ready()
        with self._opened(handle, self._timeout_s) as slide:
            plan = self._planner.plan(slide, scale)
            return _json(described(handle, slide, plan, facts, self._head))

    def picture(self) -> Response:
        """Look at a picture that was dropped on the page."""
        received = _received()
        data = bytes(received.take_body())
        with _waiting(received, self._timeout_s) as waits:
            return _json(described_picture(data, self._context, waits, self._predictor.require_ready()))

    def tile(self, handle: str, level: int, column: int, row: int) -> Response:
        """Answer a tile."""
        return self._read(handle, lambda slide: self._tiles.tile(slide, level, column, row))

    def region(self, handle: str, x: int, y: int, width: int, height: int) -> Response:
        """Answer a small picture of a region of level 0."""
        return self._read(handle, lambda slide: thumbnail(slide, Rect(x, y, width, height)))

    def read_parquet(self) -> Response:
        """Answer a table of vectors as JSON."""
        body = _received().take_body()
        _tables()  # raises where there is no library for them
        return Response(self._table_reader.read(body), content_type=JSON)

    def write_parquet(self) -> Response:
        """Answer vectors as a table."""
        body = _received().take_body()
        return Response(_tables().write_table(_object(body)), content_type="application/vnd.apache.parquet")

    def _read(self, handle: str, make: Callable[[ViewedSlide], bytes]) -> Response:
        self._require_admitted()
        with self._opened(handle, TILE_S) as slide:
            return Response(make(slide), content_type=_JPEG)

    def _require_admitted(self) -> None:
        _received().take_body()  # raises why it was not admitted
        self._keys.require(request.headers.get("Authorization"))

    @contextlib.contextmanager
    def _opened(self, handle: str, seconds: float) -> Iterator[ViewedSlide]:
        with _waiting(_received(), seconds) as waits:
            session = ReadSession(self._context, waits, RasterRegistry({}), lambda _: nullcontext())
            with self._opener.opened(parse_handle(handle), _store_token(), session) as slide:
                yield slide


@contextlib.contextmanager
def _waiting(received: Received, seconds: float) -> Iterator[Cancellation]:
    waits = Cancellation(time.monotonic() + seconds)
    with received.hang_up.during(waits.cancel):
        yield waits


def _store_token() -> BearerToken | None:
    token = request.headers.get(STORE_TOKEN)
    return BearerToken(token) if token else None


def _received() -> Received:
    received: Received = request.environ[RECEIVED]
    return received


def _object(body: bytes | bytearray) -> JsonObject:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = None
    if not is_object(found):
        raise bad("The body must be a JSON object.")
    return found


def _scale(value: object) -> float | None:
    if value is None:
        return None
    least, most = _SCALES
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise bad(f"mpp must be a number from {least} to {most}.")
    return float(value)


def _tables() -> ModuleType:
    """Return the room of tables, whose library a service need not have."""
    try:
        return importlib.import_module("serving.view.tables")
    except ModuleNotFoundError as error:
        raise ServiceError(
            Code.INTERNAL_ERROR,
            "Parquet needs a library that is not installed here: pip install 'pathserve[embed]'.",
        ) from error


def _json(value: object) -> Response:
    return Response(orjson.dumps(value), content_type=JSON)


def _failed(fault: Fault) -> Response:
    return Response(error_body(fault), status=_UNPROCESSABLE, content_type=JSON)


def _refused(error: ServiceError) -> Response:
    """Answer what fails a request; what else fails only an instance, as an image does."""
    return _failed(error.fault) if TABLE[error.code].status is None else answer_error(error)
