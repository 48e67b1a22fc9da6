"""The WSGI application: the doors, mounted."""

from __future__ import annotations

from collections.abc import Iterable

from flask import Flask

from serving.config.settings import Settings
from serving.front.application import HttpApplication
from serving.http.access import ApiKeys, secured
from serving.http.answers import answer_error, refusal
from serving.http.docs import docs_door
from serving.http.door import Door
from serving.http.gate import Gate
from serving.http.predict import predict_door
from serving.http.status import status_door
from serving.pipeline.predictor import Predictor
from serving.telemetry.request_record import Telemetry


def create_app(doors: Iterable[Door]) -> Flask:
    """Return an application with these doors. Nothing is started or connected to."""
    app = Flask("pathserve", static_folder=None)
    for door in doors:
        app.register_blueprint(door.routes)
    app.after_request(secured)
    app.register_error_handler(Exception, answer_error)
    return app


def doors_of_the_service(
    settings: Settings, predictor: Predictor, telemetry: Telemetry, keys: ApiKeys
) -> tuple[Door, ...]:
    """Return all doors: a new one is a file and a line here."""
    return (
        predict_door(settings, predictor, telemetry, keys),
        status_door(settings, predictor, telemetry, keys),
        docs_door(settings),
    )


def http_application(settings: Settings, predictor: Predictor, telemetry: Telemetry) -> HttpApplication:
    """Return the application for the front: all doors, behind a gate that knows which take a body."""
    keys = ApiKeys(settings.http.api_keys)
    doors = doors_of_the_service(settings, predictor, telemetry, keys)
    app = create_app(doors)
    with_body = frozenset[str]().union(*(door.endpoints_with_body for door in doors))
    return HttpApplication(app, Gate(app.url_map, with_body, keys, settings.requests.max_bytes), refusal)
