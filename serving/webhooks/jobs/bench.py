"""What is done in a job's thread: its handler, the storing of its outcome, its closing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from dicom_io.waiting import Cancellation
from serving.database import DatabaseLost
from serving.pipeline.embedder import Embedder
from serving.webhooks.jobs.endings import UNREADABLE
from serving.webhooks.jobs.handler import Closing, JobKind
from serving.webhooks.jobs.job import JobState
from serving.webhooks.jobs.leases import Leases
from serving.webhooks.jobs.running import Outcome, Running, Why

_AGAIN_S = 1.0
"""Pause before a database that is away is asked again."""

_UNKNOWN = Outcome(JobState.ERROR, error="This service has no such analysis.")

T = TypeVar("T")

log = logging.getLogger(__name__)


class RunnerObserver(Protocol):
    """Is told what a runner does; called from many threads."""

    def turn(self, *, database: bool, running: int, stuck: int) -> None:
        """Take note of a heartbeat, and whether the database answered it."""

    def ended(self, kind: str, state: JobState, seconds: float) -> None:
        """Take note of a job's end; seconds since it was started."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What the threads of one runner work with.

    Attributes
    ----------
    kinds:
        What does jobs, by their kinds.
    embedder:
        Makes what embeds for one job, until its waits end.
    outlives:
        Whether another process group can do the jobs that this one leaves, secrets included.
    """

    leases: Leases
    kinds: Mapping[str, JobKind]
    embedder: Callable[[Cancellation], Embedder]
    observer: RunnerObserver
    outlives: bool

    def do(self, job: Running) -> None:
        """Do a job, store how it ends, and close it."""
        claim, kind = job.claim, self.kinds.get(job.claim.kind)
        if kind is None:
            outcome: Outcome | None = _UNKNOWN
        else:
            outcome = job.outcome(kind.run, self.embedder(job.waits), self.leases)
        if outcome is None:
            return
        if job.why is Why.DRAINED and outcome.state is JobState.INTERRUPTED:
            if self.outlives or claim.secret is None:
                _insist(lambda: self.leases.give_back(claim))
                return
            outcome = Outcome(JobState.INTERRUPTED, error=UNREADABLE)
        closes = kind is not None and kind.close is not None
        state = _insist(
            lambda: self.leases.end(claim, outcome.state, outcome.output, outcome.error, closes=closes)
        )
        if state is not None:
            self._note(job, state)
            if closes:
                self.close(job, state)

    def close(self, job: Running, ended: JobState | None = None) -> None:
        """Close a job that has ended.

        Parameters
        ----------
        ended:
            How, where it has ended only now.
        """
        claim, kind = job.claim, self.kinds.get(job.claim.kind)
        if kind is not None and kind.close is not None:
            if not _insist(lambda: self.leases.begin_closing(claim)):
                return
            job.waits = Cancellation(time.monotonic() + kind.close_s)
            state = ended or claim.state
            closing = Closing(
                claim.job_id, claim.kind, claim.payload, claim.secret, state, claim.is_repeated, job.waits
            )
            try:
                kind.close(closing)
            except Exception as error:
                if job.why is Why.DRAINED:  # whoever takes it over is told that this was begun
                    return
                fields = {"job": claim.job_id, "kind": claim.kind}
                log.error("a job could not be closed", exc_info=error, extra=fields)
        _insist(lambda: self.leases.closed(claim))

    def _note(self, job: Running, state: JobState) -> None:
        seconds = time.monotonic() - job.started
        self.observer.ended(job.claim.kind, state, seconds)
        fields = {"job": job.claim.job_id, "kind": job.claim.kind, "state": str(state)}
        log.info("job ended", extra=fields | {"seconds": round(seconds, 3), "attempt": job.claim.attempt})


def _insist(write: Callable[[], T]) -> T:
    """Write to the table, however long it is away: it alone knows whether the job is still ours."""
    while True:
        try:
            return write()
        except DatabaseLost:
            time.sleep(_AGAIN_S)
