"""A job in the hands of a runner's thread."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from dicom_io.waiting import Cancellation
from serving.database import DatabaseLost
from serving.errors import ServiceError
from serving.pipeline.embedder import Embedder
from serving.webhooks.jobs.endings import CANCELLED, OUT_OF_TIME, UNEXPECTED
from serving.webhooks.jobs.handler import Handler, JobContext, JobFailed
from serving.webhooks.jobs.job import MAX_OUTPUT_BYTES, JobState, LeaseLost
from serving.webhooks.jobs.leases import Claim, Leases

T = TypeVar("T")

log = logging.getLogger(__name__)

_AGAIN_S = 1.0
"""Pause before a database that is away is asked again."""


class Why(Enum):
    """Why a handler's waits were ended from outside."""

    CANCELLED = "cancelled"
    LATE = "late"
    DRAINED = "drained"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ends."""

    state: JobState
    output: bytes | None = None
    error: str = ""


_ENDED = {
    Why.CANCELLED: Outcome(JobState.CANCELLED, error=CANCELLED),
    Why.LATE: Outcome(JobState.ERROR, error=OUT_OF_TIME),
    Why.DRAINED: Outcome(JobState.INTERRUPTED),
}
"""How a job ends whose handler was made to end."""


class Running:
    """One job, from the moment it was taken; what threads share of it.

    Attributes
    ----------
    waits:
        Ends what its thread waits for.
    why:
        Why its waits were ended, if they were.
    is_done:
        Whether the handler has returned, so that nothing of it is left to end.
    """

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.started = time.monotonic()
        self.waits = Cancellation(self.started + claim.seconds_left)
        self.why: Why | None = None
        self.is_done = claim.state.is_final
        self._lock = threading.Lock()
        self._text: str | None = None

    def end(self, why: Why) -> None:
        """End the handler's waits; the first reason counts, but that nothing outweighs a lost lease."""
        with self._lock:
            if self.why is None or why is Why.LOST:
                self.why = why
        self.waits.cancel()

    def tell(self, text: str) -> None:
        """Note how far the job is."""
        self._text = text

    def news(self) -> str | None:
        """Return how far the job is, if that is news."""
        text, self._text = self._text, None
        return text

    def outcome(self, handler: Handler, embedder: Embedder, leases: Leases) -> Outcome | None:
        """Do the job in this thread; return how it ends, ``None`` where that is not this runner's to say."""
        claim = self.claim
        context = JobContext(
            claim.job_id,
            claim.kind,
            claim.payload,
            claim.secret,
            claim.attempt,
            self.waits,
            embedder,
            self.tell,
            lambda: self._require_lease(leases),
            leases.ledger_of(claim, self._insist),
        )
        try:
            output = handler(context)
        except Exception as error:
            return self._of_error(error)
        finally:
            self.is_done = True
        if len(output) > MAX_OUTPUT_BYTES:
            return Outcome(JobState.ERROR, error=f"The result is larger than {MAX_OUTPUT_BYTES >> 20} MiB.")
        return None if self.why is Why.LOST else Outcome(JobState.FINISHED, output)

    def _of_error(self, error: Exception) -> Outcome | None:
        if self.why is Why.LOST or isinstance(error, LeaseLost):
            return None
        if self.why is not None:
            return _ENDED[self.why]
        if time.monotonic() >= self.waits.deadline:
            return _ENDED[Why.LATE]
        if isinstance(error, JobFailed):
            return Outcome(JobState.ERROR, error.output, error.message)
        fields = {"job": self.claim.job_id, "kind": self.claim.kind}
        if isinstance(error, ServiceError):
            log.warning("a job failed", extra=fields | {"code": str(error.code)})
            return Outcome(JobState.ERROR, error=error.description)
        log.error("a job failed unexpectedly", exc_info=error, extra=fields)
        return Outcome(JobState.ERROR, error=UNEXPECTED)

    def _require_lease(self, leases: Leases) -> None:
        """Be sure that nobody else does the job.

        Raises
        ------
        LeaseLost
        TimeoutError
        """
        self._require_time()
        if not self._insist(lambda: leases.renew(self.claim)):
            self.end(Why.LOST)
            raise LeaseLost

    def _insist(self, write: Callable[[], T]) -> T:
        """Return what a write returns; wait for a database that is away, as long as there is time.

        A job that shall end may still write down what it knows, if that is possible at once.

        Raises
        ------
        LeaseLost
        TimeoutError
        """
        while self.why is not Why.LOST:
            try:
                return write()
            except DatabaseLost:
                self._require_time()
                self.waits.stop.wait(_AGAIN_S)
        raise LeaseLost

    def _require_time(self) -> None:
        """Raise LeaseLost or TimeoutError where the job may not go on."""
        if self.why is Why.LOST:
            raise LeaseLost
        if self.why is not None or time.monotonic() >= self.waits.deadline:
            raise TimeoutError
