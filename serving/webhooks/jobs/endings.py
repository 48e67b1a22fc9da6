"""What is written to a job that ends, and what its caller is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, or_

from serving.webhooks.jobs.job import JobState
from serving.webhooks.jobs.seals import Seals
from serving.webhooks.jobs.tables import jobs

MAX_CRASHES = 3
"""A job whose process has died so often is given up: it may be the job that ends it."""

CANCELLED = "The job was cancelled."
OUT_OF_TIME = "The job's time was over before it was finished."
NEVER_STARTED = "The job's time was over before it could be started: too many others were waiting."
CRASHED = f"The job was interrupted {MAX_CRASHES} times: each time the process that ran it ended."
UNREADABLE = (
    "The job was interrupted: the service was restarted, and has no key any more for what the job needs. "
    "Send it again. (The service's operator can set PATHSERVE_JOBS_KEY, and keep it.)"
)
UNEXPECTED = "The job met a fault of the service; its log has the job's id."


@dataclass(frozen=True, slots=True)
class JobLimits:
    """What holds for all jobs.

    Attributes
    ----------
    queue:
        Most jobs that wait.
    retention_s:
        How long a job can be asked for after its end.
    lease_s:
        After how long without a sign of life of its process a job is taken over.
    """

    queue: int
    retention_s: float
    lease_s: float


def ending(state: JobState, error: str, now: ColumnElement[float], limits: JobLimits) -> dict[str, Any]:
    """Return what is written to a job that ends in nobody's hands: whichever runner comes by closes it."""
    return {
        "state": state,
        "error": error,
        "ended_at": now,
        "keep_until": now + limits.retention_s,
        "owner": None,
        "lease_until": None,
        "closing": "due",
    }


CLOSED: dict[str, Any] = {"closing": "none", "secret": None, "seal": None, "owner": None, "lease_until": None}
"""What is written to a job that has been closed: its secret goes."""


def can_open(seals: Seals) -> ColumnElement[bool]:
    """Return which jobs can be done with these keys."""
    return or_(jobs.c.seal.is_(None), jobs.c.seal.in_(seals.known))
