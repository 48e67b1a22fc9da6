"""The caller's side of the engine: posting jobs and asking what became of them."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from threading import Event
from typing import Any

from sqlalchemy import Connection, and_, delete, func, insert, select, update

from serving.database import Database
from serving.webhooks.jobs.doorbell import Ring
from serving.webhooks.jobs.endings import CANCELLED, JobLimits, ending
from serving.webhooks.jobs.job import (
    MAX_PAYLOAD_BYTES,
    MAX_SECRET_BYTES,
    JobState,
    JobView,
    NewJob,
    Posted,
    QueueFull,
    new_job_id,
)
from serving.webhooks.jobs.seals import Seals
from serving.webhooks.jobs.tables import jobs

_ID = re.compile(r"[0-9a-f]{32}")
_RETRY_AFTER_S = 15
_WAIT_STEP_S = 0.05
_VIEW = (
    jobs.c.id, jobs.c.kind, jobs.c.state, jobs.c.progress, jobs.c.output, jobs.c.error, jobs.c.attempt
)  # fmt: skip


class JobStore:
    """Posts jobs and reads them; safe to use from many threads.

    Parameters
    ----------
    ring:
        Wakes the runner of this machine.
    """

    def __init__(
        self,
        database: Database,
        seals: Seals,
        limits: JobLimits,
        ring: Callable[[Ring], None] = lambda _: None,
    ) -> None:
        self._database = database
        self._seals = seals
        self._limits = limits
        self._ring = ring

    def post(self, job: NewJob) -> Posted | QueueFull:
        """Store a job durably, or say which earlier one has its key.

        Raises
        ------
        DatabaseLost
        """
        _require_bounded(job)
        key = None if job.key is None else hashlib.sha256(job.key.encode("utf-8", "replace")).hexdigest()
        with self._database.writing(serial=True) as connection:
            if key is not None and (known := self._of_key(connection, key)) is not None:
                return Posted(known, is_new=False)
            waiting = select(func.count()).where(jobs.c.state == JobState.QUEUED)
            if connection.execute(waiting).scalar_one() >= self._limits.queue + job.beyond_queue:
                return QueueFull(_RETRY_AFTER_S)
            posted = Posted(new_job_id(), is_new=True)
            connection.execute(insert(jobs).values(self._row(posted.job_id, key, job)))
        self._ring(Ring.POSTED)
        return posted

    def get(self, job_id: str) -> JobView | None:
        """Return a job; ``None`` where there is none of this id, or not any more.

        Raises
        ------
        DatabaseLost
        """
        if not _ID.fullmatch(job_id):
            return None
        asked = select(*_VIEW).where(jobs.c.id == job_id, ~jobs.c.is_purged)
        with self._database.reading() as connection:
            row = connection.execute(asked).one_or_none()
        return None if row is None else _view(row)

    def wait(self, job_id: str, seconds: float) -> JobView | None:
        """Return a job once it is final, or as it is after so many seconds.

        Raises
        ------
        DatabaseLost
        """
        deadline, pause = time.monotonic() + seconds, Event()
        while True:
            view = self.get(job_id)
            if view is None or view.state.is_final or time.monotonic() >= deadline:
                return view
            pause.wait(_WAIT_STEP_S)

    def cancel(self, job_id: str) -> None:
        """Ask for a job's end; it may still finish before. A final or unknown one is left as it is.

        Raises
        ------
        DatabaseLost
        """
        if not _ID.fullmatch(job_id):
            return
        now = self._database.now
        waiting = update(jobs).where(jobs.c.id == job_id, jobs.c.state == JobState.QUEUED)
        running = update(jobs).where(jobs.c.id == job_id, jobs.c.state == JobState.RUNNING)
        with self._database.writing() as connection:
            connection.execute(waiting.values(ending(JobState.CANCELLED, CANCELLED, now, self._limits)))
            connection.execute(running.values(cancel_asked=True))
        self._ring(Ring.CANCEL)

    def counts(self) -> dict[JobState, int]:
        """Return how many jobs are in each state.

        Raises
        ------
        DatabaseLost
        """
        asked = (
            select(jobs.c.state, func.count().label("jobs")).where(~jobs.c.is_purged).group_by(jobs.c.state)
        )
        with self._database.reading() as connection:
            found = {row.state: row.jobs for row in connection.execute(asked)}
        return {state: found.get(state, 0) for state in JobState}

    def _of_key(self, connection: Connection, key: str) -> str | None:
        """Return the id of the job that has a key, unless its time is over."""
        over = and_(jobs.c.keep_until < self._database.now, jobs.c.key_until < self._database.now)
        connection.execute(delete(jobs).where(jobs.c.unique_key == key, over, jobs.c.closing == "none"))
        return connection.execute(select(jobs.c.id).where(jobs.c.unique_key == key)).scalar()

    def _row(self, job_id: str, key: str | None, job: NewJob) -> dict[str, Any]:
        now = self._database.now
        return {
            "id": job_id,
            "kind": job.kind,
            "state": JobState.QUEUED,
            "payload": job.payload,
            "secret": None if job.secret is None else self._seals.seal(job.secret),
            "seal": None if job.secret is None else self._seals.current,
            "unique_key": key,
            "created_at": now,
            "deadline_at": now + job.deadline_s,
            "key_until": now + job.key_s,
            "lease_until": now + self._limits.lease_s,
        }


def _require_bounded(job: NewJob) -> None:
    """Be sure of what a door must have checked already."""
    secret = b"" if job.secret is None else job.secret.get_secret_value()
    assert len(job.payload) <= MAX_PAYLOAD_BYTES and len(secret) <= MAX_SECRET_BYTES  # noqa: PT018

    assert 0 < job.deadline_s < float("inf")


def _view(row: Any) -> JobView:
    job_id, kind, state, progress, output, error, attempt = row
    return JobView(job_id, kind, JobState(state), progress, output, error, attempt)
