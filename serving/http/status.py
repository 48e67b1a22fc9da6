"""The door of monitoring: health and metrics."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
from flask import Blueprint, Response, request
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from serving.api.response import metadata
from serving.config.settings import Settings
from serving.errors import ServiceError
from serving.http.access import ApiKeys
from serving.http.answers import JSON
from serving.http.door import Door
from serving.pipeline.predictor import Predictor
from serving.telemetry.request_record import Telemetry


def status_door(settings: Settings, predictor: Predictor, telemetry: Telemetry, keys: ApiKeys) -> Door:
    """Return the door."""
    routes = Blueprint("status", __name__)
    ready = _Ready(predictor)

    def health() -> Response:
        facts = predictor.require_ready()
        golden = {"golden": facts.golden} if facts.golden else {}
        body = orjson.dumps({"status": "ok", "model": facts.model, **metadata(facts), **golden})
        return Response(body, content_type=JSON)

    def metrics() -> Response:
        keys.require(request.headers.get("Authorization"))
        return Response(telemetry.exposition(ready), content_type="text/plain; version=0.0.4; charset=utf-8")

    routes.add_url_rule(settings.http.health_route, "health", health)
    routes.add_url_rule("/metrics", "metrics", metrics)
    return Door(routes)


class _Ready(Collector):
    """What the health route says, for who collects metrics alone."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def collect(self) -> Iterator[Metric]:
        """Yield the metric."""
        try:
            self._predictor.require_ready()
        except ServiceError:
            is_ready = False
        else:
            is_ready = True
        yield GaugeMetricFamily(
            "pathserve_ready",
            "Whether predictions can be answered, 1 or 0, as the health route says.",
            is_ready,
        )
