"""Log lines and metrics of the group, in one scrape."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from flask import Response, g, request
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, multiprocess
from prometheus_client.core import GaugeMetricFamily, Metric

from serving.errors import ServiceError
from serving.front.wsgi_bridge import RECEIVED, Received
from serving.telemetry.request_record import request_id
from serving.webhooks.jobs.job import JobState

_REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_JOB_SECONDS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 10800)

log = logging.getLogger(__name__)


class RunnerMetrics:
    """Counts jobs that end."""

    def __init__(self, *, restarted: bool) -> None:
        # Registered nowhere: values are written to files, which HTTP workers read.
        self._ended = Counter(
            "pathserve_jobs_ended", "Jobs by kind and how they ended.", ["kind", "state"], registry=None
        )
        self._seconds = Histogram(
            "pathserve_job_seconds",
            "Time from a job's start to its end.",
            ["kind"],
            buckets=_JOB_SECONDS,
            registry=None,
        )
        restarts = Counter("pathserve_runner_restarts", "Runners that replaced a dead one.", registry=None)
        restarts.inc(1 if restarted else 0)

    def ended(self, kind: str, state: JobState, seconds: float) -> None:
        """Count a job."""
        self._ended.labels(kind, str(state)).inc()
        self._seconds.labels(kind).observe(seconds)


class WebhookTelemetry:
    """Counts and logs requests; shows the metrics of all processes, and how many jobs are in which state.

    Parameters
    ----------
    folder:
        Where prometheus_client keeps the numbers of all processes; without it only this process' are shown.
    jobs:
        Counts jobs; raises ServiceError when the database is away.
    parked:
        Counts what waits for a person; raises it, too.
    """

    def __init__(
        self,
        folder: Path | None,
        jobs: Callable[[], Mapping[JobState, int]],
        parked: Callable[[], int],
    ) -> None:
        self._registry = CollectorRegistry()
        self._folder = folder
        self._table = _Table(jobs, parked)
        self._requests = Counter(
            "pathserve_webhook_requests", "Requests by route and status.", ["route", "status"],
            registry=self._registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "pathserve_webhook_request_seconds", "Time from a request's first byte to its answer.", ["route"],
            buckets=_REQUEST_SECONDS, registry=self._registry,
        )  # fmt: skip

    def begin(self) -> None:
        """Start a request's record."""
        g.request_id = request_id(request.headers)

    def finish(self, response: Response) -> Response:
        """Count and log a request by the name of its view: a path may hold a secret or a job's id."""
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
        table.register(self._table)
        return generate_latest(registry) + generate_latest(table)


class _Table:
    """Counts rows when it is asked; a database that is away is no reason to have no metrics at all."""

    def __init__(self, jobs: Callable[[], Mapping[JobState, int]], parked: Callable[[], int]) -> None:
        self._jobs = jobs
        self._parked = parked

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        jobs = GaugeMetricFamily("pathserve_jobs", "Jobs in the table by state.", labels=["state"])
        try:
            for state, count in self._jobs().items():
                jobs.add_metric([str(state)], count)
            parked = self._parked()
        except ServiceError:
            return
        yield jobs
        yield GaugeMetricFamily("pathserve_parked", "Results that wait for a person.", value=parked)
