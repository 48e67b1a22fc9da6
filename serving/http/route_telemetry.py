"""Log lines and metrics of requests by their route, for process groups beside the service."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from flask import Flask, Response, g, request
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, multiprocess
from prometheus_client.registry import Collector

from serving.front.wsgi_bridge import RECEIVED, Received
from serving.telemetry.request_record import request_id
from serving.telemetry.spans import Span, Spans, Value

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

log = logging.getLogger(__name__)


class RouteTelemetry:
    """Counts and logs requests; shows the metrics of all processes, and what is looked up when asked.

    Parameters
    ----------
    prefix:
        What the metrics' names begin with.
    folder:
        Where prometheus_client keeps the numbers of all processes; without it only this process' are shown.
    looked_up:
        Collectors of what no process counts, as rows of a table; must not raise.
    spans:
        Where spans of requests go, where they are wanted.
    """

    def __init__(
        self, prefix: str, folder: Path | None, *looked_up: Collector, spans: Spans | None = None
    ) -> None:
        self._spans = spans
        self._registry = CollectorRegistry()
        self._folder = folder
        self._looked_up = looked_up
        self._requests = Counter(
            f"{prefix}_requests", "Requests by route and status.", ["route", "status"],
            registry=self._registry,
        )  # fmt: skip
        self._seconds = Histogram(
            f"{prefix}_request_seconds", "Time from a request's first byte to its answer.", ["route"],
            buckets=_SECONDS, registry=self._registry,
        )  # fmt: skip

    def watch(self, app: Flask) -> None:
        """Count and log the requests of an application."""
        app.before_request(self.begin)
        app.after_request(self.finish)

    def begin(self) -> None:
        """Start a request's record."""
        g.request_id = request_id(request.headers)

    def finish(self, response: Response) -> Response:
        """Count and log a request by the name of its view: a path may hold a secret or an id."""
        route = request.endpoint or "unknown"
        received: Received | None = request.environ.get(RECEIVED)
        seconds = time.perf_counter() - received.started if received is not None else 0.0
        self._requests.labels(route, str(response.status_code)).inc()
        self._seconds.labels(route).observe(seconds)
        response.headers["X-Request-Id"] = g.request_id
        if route.startswith("status."):  # asked all the time, by machines
            return response
        if self._spans is not None and received is not None:
            self._spans.add(_span(route, response.status_code, received.started, seconds))
        fields = {
            "request_id": g.request_id,
            "method": request.method,
            "route": route,
            "http_status": response.status_code,
            "outcome": g.get("outcome", "ok"),
            "seconds": round(seconds, 4),
        }
        log.info("request", extra=fields)
        return response

    def exposition(self) -> bytes:
        """Return the metrics of all processes in Prometheus' text format."""
        registry = self._registry
        if self._folder is not None:
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry, path=str(self._folder))
        table = CollectorRegistry()
        for collector in self._looked_up:
            table.register(collector)
        return generate_latest(registry) + generate_latest(table)


def _span(route: str, status: int, began: float, seconds: float) -> Span:
    """Return the span of the request that has been answered, by the name of its view."""
    method = request.method if request.method in _METHODS else "_OTHER"
    attributes: dict[str, Value] = {
        "http.request.method": method,
        "http.response.status_code": status,
        "pathserve.view": route,
        "pathserve.request_id": g.request_id,
    }
    if (code := g.get("outcome", "ok")) != "ok":
        attributes["error.type"] = code
    return Span(
        name=f"{method} {route}",
        began=began,
        ended=began + seconds,
        attributes=attributes,
        failed=status >= 500,
        traceparent=request.headers.get("traceparent", ""),
        is_of_server=True,
    )
