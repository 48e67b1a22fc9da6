"""What flows through the engine: a job as it is posted, and as its caller sees it."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import SecretBytes

from serving.errors import ServiceError, unavailable

MAX_PAYLOAD_BYTES = 4 << 20
MAX_SECRET_BYTES = 2 << 20
MAX_OUTPUT_BYTES = 64 << 20
MAX_TEXT_LENGTH = 1000
"""Longest progress or error text that is kept, in characters."""


_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


class LeaseLost(Exception):
    """The job is not this runner's any more: another may do it, and nothing more may be done for it here."""


class JobState(StrEnum):
    """Where a job is. The first two pass, the others are final.

    Attributes
    ----------
    ERROR:
        It failed, or ran out of time; the view's ``error`` says why.
    INTERRUPTED:
        Its process ended and it could not be resumed; ``error`` says so.
    """

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    ERROR = "error"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing more will come."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


def new_job_id() -> str:
    """Return 128 random bits in 32 hexadecimal digits: who does not know the id cannot ask for the job."""
    return secrets.token_hex(16)


def plain(text: str) -> str:
    """Return a text as it can be stored and shown: in one line, not too long."""
    return _UNPRINTABLE.sub(" ", text)[:MAX_TEXT_LENGTH]


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be done.

    Attributes
    ----------
    kind:
        Which handler does it: ``<service>.<analysis>``.
    payload:
        What the handler is given, at most ``MAX_PAYLOAD_BYTES``. It is stored as it is: no secret, and
        nothing of a patient or a person that the handler can do without.
    deadline_s:
        Seconds from now until which it must have ended, waiting included.
    secret:
        What must not be stored in the clear, at most ``MAX_SECRET_BYTES``.
    key:
        Posts with the same key are the same job: the first counts. Only its hash is stored.
    key_s:
        Seconds for which the key is remembered, if longer than the job itself.
    beyond_queue:
        How many more than the queue's bound may wait when it is stored: for what is short and must not be
        refused.
    """

    kind: str
    payload: bytes = field(repr=False)
    deadline_s: float
    secret: SecretBytes | None = None
    key: str | None = None
    key_s: float = 0.0
    beyond_queue: int = 0


@dataclass(frozen=True, slots=True)
class Posted:
    """A job has been stored, now or earlier.

    Attributes
    ----------
    is_new:
        Whether this post has stored it; else an earlier one with the same key did.
    """

    job_id: str
    is_new: bool


@dataclass(frozen=True, slots=True)
class QueueFull:
    """A job has not been stored: too many wait.

    Attributes
    ----------
    retry_after_s:
        When to try again.
    """

    retry_after_s: int

    def as_error(self) -> ServiceError:
        """Return what the caller is answered: 503 with Retry-After."""
        return unavailable("Too many jobs are waiting; try again later.", retry_after_s=self.retry_after_s)


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as its caller sees it.

    Attributes
    ----------
    progress:
        The handler's latest text; empty before the first.
    output:
        What the handler returned; also a job that failed may have one.
    error:
        Why it failed, was interrupted or cancelled; else empty.
    attempt:
        How many times it has been started.
    """

    job_id: str
    kind: str
    state: JobState
    progress: str = ""
    output: bytes | None = field(default=None, repr=False)
    error: str = ""
    attempt: int = 0
