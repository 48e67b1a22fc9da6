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
    """

    def __init__(self, prefix: str, folder: Path | None, *looked_up: Collector) -> None:
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
