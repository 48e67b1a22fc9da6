"""The WSGI application of the group: the services' doors, and those of health, metrics and documents."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import orjson
from flask import Blueprint, Response, request

from serving.config.settings import Settings
from serving.front.application import HttpApplication
from serving.http.access import ApiKeys
from serving.http.answers import JSON, refusal
from serving.http.app import create_app
from serving.http.docs import door_of
from serving.http.door import Door
from serving.http.gate import Gate
from serving.http.route_telemetry import RouteTelemetry
from serving.telemetry.spans import Spans
from serving.webhooks.jobs.parked import Parked
from serving.webhooks.jobs.store import JobStore
from serving.webhooks.service.documents import docs_page, openapi_document
from serving.webhooks.service.starts import GroupStart
from serving.webhooks.service.status import read_status
from serving.webhooks.service.telemetry import webhook_telemetry
from serving.webhooks.webhook import DoorTools, Webhook


def webhooks_application(
    group: GroupStart,
    webhooks: Sequence[Webhook],
    jobs: JobStore,
    parked: Parked,
    spans: Spans | None = None,
) -> HttpApplication:
    """Return the application for the front.

    Parameters
    ----------
    spans:
        Where spans of requests go, where they are wanted.
    """
    settings = group.settings
    telemetry = webhook_telemetry(settings.shared.metrics, jobs.counts, parked.count, spans)
    tools = DoorTools(settings, jobs)
    doors = [
        *(webhook.door(tools) for webhook in webhooks),
        status_door(settings, Path(group.status), jobs, telemetry),
        docs_door(settings, webhooks),
    ]
    app = create_app(doors)
    telemetry.watch(app)
    with_body = frozenset[str]().union(*(door.endpoints_with_body for door in doors))
    # Callers of webhooks cannot send keys of ours: each service says who may call it.
    gate = Gate(app.url_map, with_body, ApiKeys(None), settings.requests.max_bytes)
    return HttpApplication(app, gate, refusal)


def status_door(settings: Settings, status: Path, jobs: JobStore, telemetry: RouteTelemetry) -> Door:
    """Return the door of monitoring: health and metrics."""
    routes = Blueprint("status", __name__)
    keys = ApiKeys(settings.http.api_keys)

    def health() -> Response:
        jobs.get("0" * 32)  # this worker, too, must reach the database
        runner = read_status(status)
        runner.require_well()
        body = {"status": "ok", "running": runner.running, "embedder": runner.embedder}
        return Response(orjson.dumps(body), content_type=JSON)

    def metrics() -> Response:
        keys.require(request.headers.get("Authorization"))
        return Response(telemetry.exposition(), content_type="text/plain; version=0.0.4; charset=utf-8")

    routes.add_url_rule("/health", "health", health)
    routes.add_url_rule("/metrics", "metrics", metrics)
    return Door(routes)


def docs_door(settings: Settings, webhooks: Sequence[Webhook]) -> Door:
    """Return the door of the documentation."""
    document = openapi_document(settings, webhooks)
    return door_of(document, docs_page(document))
