"""The seam between the engine and what a job does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pydantic import SecretBytes

from dicom_io.waiting import Cancellation
from serving.pipeline.embedder import Embedder
from serving.webhooks.jobs.job import JobState
from serving.webhooks.jobs.ledger import JobLedger


class JobFailed(Exception):
    """The job cannot be done; it ends as ``error``.

    Parameters
    ----------
    message:
        What the caller is told: what is wrong and what to do, without secrets or anything of a patient.
    output:
        What the caller is given all the same.
    """

    def __init__(self, message: str, output: bytes | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.output = output


@dataclass(frozen=True, slots=True)
class JobContext:
    """What a handler is given.

    Attributes
    ----------
    secret:
        What was posted as such; it does not print.
    attempt:
        1 for the first start; more after a crash of the process that ran it before.
    waits:
        Ends the handler's waits: at the job's deadline, when it is cancelled, when the runner drains for too
        long, and when the lease is lost. Give it to all that waits.
    embedder:
        Embeds for this job: its calls end with ``waits``.
    progress:
        Tells the caller how far it is; cheap, and only the latest text is kept.
    require_lease:
        Call it right before anything that is seen outside (an upload, a post), which must not happen twice:
        renews the lease, or raises LeaseLost.
    ledger:
        For what must be sent to another system once, and cannot be taken back.
    """

    job_id: str
    kind: str
    payload: bytes = field(repr=False)
    secret: SecretBytes | None
    attempt: int
    waits: Cancellation
    embedder: Embedder
    progress: Callable[[str], None]
    require_lease: Callable[[], None]
    ledger: JobLedger


@dataclass(frozen=True, slots=True)
class Closing:
    """What is given to the function that closes a job, after its outcome has been stored.

    Attributes
    ----------
    state:
        How the job ended.
    is_repeated:
        Whether an earlier call was begun and it is not known how far it came, because its process died: ask
        the other side before doing again what must be done once.
    waits:
        Its own, short: see ``JobKind.close_s``.
    """

    job_id: str
    kind: str
    payload: bytes = field(repr=False)
    secret: SecretBytes | None
    state: JobState
    is_repeated: bool
    waits: Cancellation


Handler = Callable[[JobContext], bytes]
"""Does a job and returns its output, at most ``job.MAX_OUTPUT_BYTES``.

May raise JobFailed; whatever else it raises ends the job as ``error`` with a sentence that quotes nothing of
it. Runs in a thread of its own; it may be called again for the same job after a crash.
"""


@dataclass(frozen=True, slots=True)
class JobKind:
    """How jobs of one kind are done.

    Attributes
    ----------
    close:
        Called once for each job in whatever way it ends (finished, error, cancelled, out of time, taken over
        after a crash), as long as its secret can still be opened: for giving a credential up. Once, but for a
        crash within the call itself: then once more with ``is_repeated``. What it raises is logged by its
        type.
    close_s:
        Seconds that it may take.
    """

    run: Handler
    close: Callable[[Closing], None] | None = None
    close_s: float = 30.0
