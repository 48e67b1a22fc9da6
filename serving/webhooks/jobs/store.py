"""The caller's side of the engine: posting jobs and asking what became of them."""

from __future__ import annotations

from typing import Protocol

from serving.webhooks.jobs.job import JobView, NewJob, Posted, QueueFull


class JobStore(Protocol):
    """Posts jobs and reads them; safe to use from many threads.

    Raises
    ------
    ServiceError
        SERVICE_UNAVAILABLE_ERROR when the database cannot be reached.
    """

    def post(self, job: NewJob) -> Posted | QueueFull:
        """Store a job durably, or say which earlier one has its key."""
        ...

    def get(self, job_id: str) -> JobView | None:
        """Return a job; ``None`` where there is none of this id, or not any more."""
        ...

    def wait(self, job_id: str, seconds: float) -> JobView | None:
        """Return a job once it is final, or as it is after so many seconds."""
        ...

    def cancel(self, job_id: str) -> None:
        """Ask for a job's end; it may still finish before. A final or unknown one is left as it is."""
        ...
