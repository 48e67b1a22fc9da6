"""What the service says about itself: request ids, stage times, metrics, one log line a request."""

from __future__ import annotations

import contextlib
import logging
import re
import threading
import time
import uuid
from collections import Counter as Tally
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, multiprocess
from prometheus_client.registry import Collector
from werkzeug.datastructures import Headers

from dicom_io.reading import ReadStage
from serving.telemetry.spans import Span, Spans, Value


class RequestStage(StrEnum):
    """Stages of a request other than those of reading its images; queue is the longest wait."""

    PARSE = "parse"
    QUEUE = "queue"
    ENCODE = "encode"
    SERIALISE = "serialise"


Stage = RequestStage | ReadStage
"""A stage of a request. Those of reading are summed over threads."""

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")

log = logging.getLogger(__name__)


def request_id(headers: Headers, header: str = "X-Request-Id") -> str:
    """Return the id in the caller's header, else its ``traceparent``'s trace id, else a new one."""
    given = headers.get(header, "")
    if _REQUEST_ID.fullmatch(given):
        return given
    trace = _TRACEPARENT.fullmatch(headers.get("traceparent", ""))
    return trace.group(1) if trace else uuid.uuid4().hex


class StageTimes:
    """How long each stage of one request was at work, and when; safe to add to from many threads.

    Attributes
    ----------
    seconds:
        Summed over threads.
    periods:
        When the stage first began and last ended, ``time.perf_counter()`` seconds.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.seconds: dict[Stage, float] = {}
        self.periods: dict[Stage, tuple[float, float]] = {}

    def add(self, stage: Stage, seconds: float, period: tuple[float, float] | None = None) -> None:
        """Add time to a stage, and when that was; by default until this moment."""
        if period is None:
            ended = time.perf_counter()
            period = ended - seconds, ended
        with self._lock:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds
            first, last = self.periods.get(stage, period)
            self.periods[stage] = min(first, period[0]), max(last, period[1])

    @contextlib.contextmanager
    def measure(self, stage: Stage) -> Iterator[None]:
        """Add the time that a ``with`` block takes."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - started)


@dataclass(slots=True)
class RequestRecord:
    """What is counted and logged about one request: numbers and codes, nothing of its content.

    Attributes
    ----------
    codes:
        Number of instances by error code.
    magnification:
        Number of instances with vectors by what the magnification guard warns of.
    patch_codes:
        Number of patches that failed in instances that did not, by error code.
    route:
        The route as it was defined, its variable parts unfilled.
    traceparent:
        The header of that name.
    """

    request_id: str
    started: float = field(default_factory=time.perf_counter)
    stages: StageTimes = field(default_factory=StageTimes)
    request_bytes: int = 0
    instances: int = 0
    patches: int = 0
    codes: Tally[str] = field(default_factory=Tally)
    magnification: Tally[str] = field(default_factory=Tally)
    patch_codes: Tally[str] = field(default_factory=Tally)
    route: str = ""
    traceparent: str = ""

    def fields(self, status: int, code: str) -> dict[str, object]:
        """Return what the log says of a request that has been answered; see ``Telemetry.finish``."""
        return {
            "request_id": self.request_id,
            "http_status": status,
            "outcome": code,
            "instances": self.instances,
            "instances_failed": sum(self.codes.values()),
            "codes": dict(self.codes),
            "patch_codes": dict(self.patch_codes),
            **({"magnification": dict(self.magnification)} if self.magnification else {}),
            "patches": self.patches,
            "request_bytes": self.request_bytes,
            "seconds": round(time.perf_counter() - self.started, 4),
            "stages_ms": {k: round(1000 * v, 1) for k, v in self.stages.seconds.items()},
        }


class Telemetry:
    """Metrics of one HTTP worker, scraped as the sum over all processes of the service.

    Parameters
    ----------
    multiprocess_folder:
        Where prometheus_client keeps the numbers of all processes (PROMETHEUS_MULTIPROC_DIR);
        without it only this process' own numbers are shown.
    spans:
        Where spans of requests go, where they are wanted.
    """

    def __init__(self, multiprocess_folder: Path | None = None, spans: Spans | None = None) -> None:
        self._spans = spans
        self._registry = CollectorRegistry()
        self._folder = multiprocess_folder
        own = self._registry
        self._requests = Counter(
            "pathserve_requests", "Predict requests by outcome.", ["status", "code"], registry=own
        )
        self._instances = Counter(
            "pathserve_instances", "Instances by outcome: ok or error code.", ["code"], registry=own
        )
        self._magnification = Counter(
            "pathserve_magnification_warnings",
            "Instances with vectors that the magnification guard warns of, by verdict.",
            ["verdict"],
            registry=own,
        )
        self._patches = Counter("pathserve_patches", "Patches that were embedded.", registry=own)
        self._failed_patches = Counter(
            "pathserve_patch_errors", "Patches with an error of their own, by code.", ["code"], registry=own
        )
        self._duration = Histogram(
            "pathserve_request_seconds", "Time from the first byte of a request to its answer.",
            buckets=_SECONDS, registry=own,
        )  # fmt: skip
        stages = Histogram(
            "pathserve_stage_seconds", "Time of a request's stages, summed over threads.",
            ["stage"], buckets=_SECONDS, registry=own,
        )  # fmt: skip
        self._stage = {stage: stages.labels(stage) for stage in (*RequestStage, *ReadStage)}

    def finish(self, record: RequestRecord, status: int, code: str) -> None:
        """Count and log a request that has been answered.

        Parameters
        ----------
        status, code:
            HTTP status, and ``ok`` or the code that failed the whole request.
        """
        seconds = time.perf_counter() - record.started
        failed = sum(record.codes.values())
        self._requests.labels(str(status), code).inc()
        self._duration.observe(seconds)
        for stage, spent in record.stages.seconds.items():
            self._stage[stage].observe(spent)
        if status == 200:
            self._patches.inc(record.patches)
            self._instances.labels("ok").inc(record.instances - failed)
            for name, count in record.codes.items():
                self._instances.labels(name).inc(count)
            for verdict, count in record.magnification.items():
                self._magnification.labels(verdict).inc(count)
            for name, count in record.patch_codes.items():
                self._failed_patches.labels(name).inc(count)
        if self._spans is not None:
            self._spans.add(request_span(record, status, code, record.started + seconds))
        log.info("predict", extra=record.fields(status, code))

    def exposition(self, *looked_up: Collector) -> bytes:
        """Return the metrics of all processes in Prometheus' text format.

        Parameters
        ----------
        looked_up:
            Collectors of what no process counts; must not raise.
        """
        registry = self._registry
        if self._folder:
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry, path=str(self._folder))
        own = CollectorRegistry()
        for collector in looked_up:
            own.register(collector)
        return generate_latest(registry) + generate_latest(own)


def request_span(record: RequestRecord, status: int, code: str, ended: float) -> Span:
    """Return the span of a predict request that has been answered, with one for each of its stages.

    A stage may have been at work in many threads at once, and with pauses: its span goes from its first
    beginning to its last end, and ``pathserve.busy_s`` has the seconds, summed over threads.

    Parameters
    ----------
    status, code:
        HTTP status, and ``ok`` or the code that failed the whole request.
    ended:
        ``time.perf_counter()`` seconds.
    """
    attributes: dict[str, Value] = {
        "http.request.method": "POST",
        "http.route": record.route,
        "http.response.status_code": status,
        "http.request.body.size": record.request_bytes,
        "pathserve.request_id": record.request_id,
        "pathserve.instances": record.instances,
        "pathserve.instances_failed": sum(record.codes.values()),
        "pathserve.patches": record.patches,
    }
    if record.codes:
        attributes["pathserve.error_codes"] = tuple(sorted(record.codes))
    if code != "ok":
        attributes["error.type"] = code
    stages = tuple(
        Span(
            str(stage),
            max(began, record.started),
            min(last, ended),
            {"pathserve.busy_s": round(record.stages.seconds[stage], 6)},
        )
        for stage, (began, last) in record.stages.periods.items()
    )
    return Span(
        name=f"POST {record.route}",
        began=record.started,
        ended=ended,
        attributes=attributes,
        failed=status >= 500,
        traceparent=record.traceparent,
        is_of_server=True,
        parts=stages,
    )
