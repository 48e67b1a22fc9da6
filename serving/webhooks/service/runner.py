"""The runner's process: ``python -m serving.webhooks.service.runner``.

It does jobs, and embeds by an encoder of its own unless a service does that for it. The launcher starts it by
exec: TensorFlow does not survive a fork.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import cv2

from serving.config.exit_status import ExitStatus
from serving.config.settings import SettingsError
from serving.database import DatabaseLost
from serving.errors import ServiceError
from serving.processes.assembly import read_context
from serving.processes.child import END, begin
from serving.processes.tracing import spans_sent
from serving.telemetry.json_log import log_as_json
from serving.telemetry.spans import Spans
from serving.webhooks.jobs.bench import Bench
from serving.webhooks.jobs.clearing import Clearing
from serving.webhooks.jobs.doorbell import Doorbell
from serving.webhooks.jobs.handler import JobKind
from serving.webhooks.jobs.job import JobState
from serving.webhooks.jobs.leases import Leases
from serving.webhooks.jobs.runner import Runner
from serving.webhooks.service.embedders import Embedding, LocalEmbedding, embedding
from serving.webhooks.service.starts import RunnerStart
from serving.webhooks.service.status import RunnerStatus
from serving.webhooks.service.telemetry import RunnerMetrics, job_span
from serving.webhooks.webhook import RunnerTools, Webhook

log = logging.getLogger(__name__)


_TROUBLE_S = 60.0
"""An encoder in this process that is not well for so long will not be: another process loads another."""


class _Observer:
    """Writes the status file at each heartbeat, and counts jobs."""

    def __init__(self, status: Path, metrics: RunnerMetrics, spans: Spans | None) -> None:
        self._status = status
        self._metrics = metrics
        self._spans = spans
        self._well = time.monotonic()
        self.embedding: Embedding | None = None

    def turn(self, *, database: bool, running: int, stuck: int) -> None:
        """Say how the runner is."""
        embedding, trouble = self.embedding, ""
        facts: dict[str, object] = {}
        if embedding is not None:
            facts, trouble = dict(embedding.metadata), _trouble(embedding)
        status = RunnerStatus(
            os.getpid(), embedding is not None, database, running, stuck, trouble, embedder=facts
        )
        status.write(self._status)
        if not trouble:
            self._well = time.monotonic()
        elif isinstance(embedding, LocalEmbedding) and time.monotonic() - self._well > _TROUBLE_S:
            log.critical("encoder is broken and the runner ends")
            os._exit(ExitStatus.FAULT)

    def ended(self, kind: str, state: JobState, seconds: float) -> None:
        """Count a job."""
        self._metrics.ended(kind, state, seconds)
        if self._spans is not None:
            self._spans.add(job_span(kind, state, seconds))


def _trouble(embedding: Embedding) -> str:
    try:
        embedding.require_ready()
    except ServiceError as error:
        return error.description
    return ""


def main() -> ExitStatus:
    """Do jobs until END."""
    start = begin(RunnerStart, END)
    log_as_json(start.group.settings.log.level, process="runner")
    cv2.setNumThreads(1)  # images are resized in a pool that has a thread for each core already
    try:
        with spans_sent(start.group.settings, "pathserve-webhooks") as spans:
            was_told = _do_jobs(start, spans)
    except SettingsError as error:
        print(f"pathserve: {error}", file=sys.stderr, flush=True)
        return ExitStatus.MISCONFIGURED
    except DatabaseLost as error:
        log.error("the job database %s", error.reason)
        return ExitStatus.FAULT
    return ExitStatus.OK if was_told else ExitStatus.FAULT


def _do_jobs(start: RunnerStart, spans: Spans | None) -> bool:
    """Do jobs until END; return whether that came."""
    group, settings = start.group, start.group.settings
    database, seals = group.open_database(), group.seals()
    leases = Leases(database, seals, group.limits, start.owner)
    observer = _Observer(Path(group.status), RunnerMetrics(restarted=start.restarted), spans)
    bell = Doorbell(group.bell)
    runner = Runner(leases, Clearing(database, seals, group.limits), bell, observer, settings.jobs.at_once)
    signal.signal(END, lambda *_: runner.stop())
    runner.start(f"{start.name}.")
    context = read_context(settings)
    with embedding(settings, context) as embeds:
        kinds = _kinds(group.webhooks(), RunnerTools(settings, context))
        observer.embedding = embeds
        log.info("runner ready", extra={"pid": os.getpid()})
        bench = Bench(leases, kinds, embeds.for_job, observer, seals.outlive_crashes)
        was_told = runner.run(bench, settings.http.grace_s)
        context.decoders.close()
    return was_told


def _kinds(webhooks: Iterable[Webhook], tools: RunnerTools) -> dict[str, JobKind]:
    """Return what does the jobs of all services."""
    kinds: dict[str, JobKind] = {}
    for webhook in webhooks:
        kinds |= webhook.kinds(tools)
    return kinds


if __name__ == "__main__":
    status = main()
    logging.shutdown()
    os._exit(status)  # threads of TensorFlow, or of a handler, can block the interpreter's shutdown
