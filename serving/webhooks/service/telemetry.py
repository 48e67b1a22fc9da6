"""Log lines and metrics of the group, in one scrape."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from prometheus_client import Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from serving.errors import ServiceError
from serving.http.route_telemetry import RouteTelemetry
from serving.telemetry.spans import Span, Spans, Value
from serving.webhooks.jobs.job import JobState

_JOB_SECONDS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 10800)


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


def job_span(kind: str, state: JobState, seconds: float) -> Span:
    """Return the span of a job that has ended at this moment."""
    ended = time.perf_counter()
    said: dict[str, Value] = {"pathserve.job.kind": kind, "pathserve.job.state": str(state)}
    return Span(f"job {kind}", ended - seconds, ended, said, failed=state is JobState.ERROR)


def webhook_telemetry(
    folder: Path | None,
    jobs: Callable[[], Mapping[JobState, int]],
    parked: Callable[[], int],
    spans: Spans | None = None,
) -> RouteTelemetry:
    """Return what counts and logs requests, and counts jobs and what is parked when it is asked.

    Parameters
    ----------
    folder:
        Where prometheus_client keeps the numbers of all processes.
    jobs:
        Counts jobs; raises ServiceError when the database is away.
    parked:
        Counts what waits for a person; raises it, too.
    spans:
        Where spans of requests go, where they are wanted.
    """
    return RouteTelemetry("pathserve_webhook", folder, _Table(jobs, parked), spans=spans)


class _Table(Collector):
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
