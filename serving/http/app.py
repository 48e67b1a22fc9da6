"""The WSGI application: the doors, mounted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from flask import Flask, Request
from flask.sessions import NullSession, SessionInterface

from serving.api.sources.kind import SourceKind
from serving.api.sources.registry import KINDS
from serving.config.settings import Settings
from serving.front.application import HttpApplication
from serving.http.access import ApiKeys, secured
from serving.http.answers import answer_error, refusal
from serving.http.check import check_door
from serving.http.docs import docs_door
from serving.http.door import Door
from serving.http.gate import Gate
from serving.http.kserve import kserve_door
from serving.http.predict import Predictions, predict_door
from serving.http.sagemaker import sagemaker_door
from serving.http.status import status_door
from serving.pipeline.predictor import Predictor
from serving.telemetry.request_record import Telemetry


class _NoSessions(SessionInterface):
    """No cookie is ever read: whoever asks is known by a key, or not at all."""

    def __init__(self) -> None:
        self._none = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:
        """Return the same empty session, which refuses to be changed."""
        return self._none


class _App(Flask):
    """Flask without what no door has: sessions, and views that are coroutines."""

    session_interface = _NoSessions()

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return a view or hook, which is not looked at anew at each request."""
        return func


def create_app(doors: Iterable[Door]) -> Flask:
    """Return an application with these doors. Nothing is started or connected to."""
    app = _App("pathserve", static_folder=None)
    for door in doors:
        app.register_blueprint(door.routes)
    app.after_request(secured)
    app.register_error_handler(Exception, answer_error)
    return app


def doors_of_the_service(
    settings: Settings,
    predictor: Predictor,
    telemetry: Telemetry,
    keys: ApiKeys,
    kinds: tuple[SourceKind, ...] = KINDS,
) -> tuple[Door, ...]:
    """Return all doors that are always there: a new one is a file and a line here."""
    predictions = Predictions(settings, predictor, telemetry, keys, kinds)
    return (
        predict_door(settings, predictions),
        status_door(settings, predictor, telemetry, keys),
        docs_door(settings),
        # After those whose routes are settings: of two routes that are the same, the first one answers.
        check_door(settings, predictor, kinds),
        kserve_door(settings, predictor, keys, predictions),
        sagemaker_door(predictor, predictions),
    )


@dataclass(frozen=True, slots=True)
class Additions:
    """What an optional ability adds to the service.

    Attributes
    ----------
    doors:
        Makes its doors, given the service's keys.
    kinds:
        Kinds of sources that predictions may name besides the API's.
    """

    doors: Callable[[ApiKeys], tuple[Door, ...]] = lambda _: ()
    kinds: tuple[SourceKind, ...] = ()


def http_application(
    settings: Settings, predictor: Predictor, telemetry: Telemetry, additions: Additions | None = None
) -> HttpApplication:
    """Return the application for the front: all doors, behind a gate that knows which take a body."""
    keys, more = ApiKeys(settings.http.api_keys), additions or Additions()
    doors = (
        *doors_of_the_service(settings, predictor, telemetry, keys, KINDS + more.kinds),
        *more.doors(keys),
    )
    app = create_app(doors)
    with_body = frozenset[str]().union(*(door.endpoints_with_body for door in doors))
    reading = frozenset[str]().union(*(door.endpoints_that_read for door in doors))
    gate = Gate(app.url_map, with_body, keys, settings.requests.max_bytes, reading)
    return HttpApplication(app, gate, refusal)
