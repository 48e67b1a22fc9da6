"""The job engine in this process: a table, callers, and runners in threads."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import SecretBytes, SecretStr
from sqlalchemy import select

from dicom_io.waiting import Cancellation
from serving.database import Database
from serving.pipeline.embedder import Embedder
from serving.webhooks.jobs.bench import Bench
from serving.webhooks.jobs.clearing import Clearing
from serving.webhooks.jobs.doorbell import Doorbell, Ring, ring
from serving.webhooks.jobs.endings import JobLimits
from serving.webhooks.jobs.handler import JobContext, JobKind
from serving.webhooks.jobs.job import JobState, JobView, NewJob, Posted
from serving.webhooks.jobs.leases import Leases
from serving.webhooks.jobs.runner import Runner
from serving.webhooks.jobs.seals import JobKeys, Seals
from serving.webhooks.jobs.store import JobStore
from serving.webhooks.jobs.tables import JOBS, jobs
from tests.support.service import wait_until

KEY = "c3Rvbmdlci10aGFuLWEtcGxhbnRlZC10b2tlbi0xMjM="  # 32 bytes in base64
LEASE_S = 1.5


class NoEmbedder:
    """What handlers get that embed nothing."""

    metadata: Mapping[str, object] = {}

    def embed(self, instances: object) -> Any:
        """Fail."""
        raise AssertionError("no job of this test embeds")


class Ended:
    """Notes what a runner tells."""

    def __init__(self) -> None:
        self.states: list[JobState] = []
        self.turns: list[dict[str, object]] = []

    def turn(self, **facts: object) -> None:
        """Note a heartbeat."""
        self.turns.append(facts)

    def ended(self, kind: str, state: JobState, seconds: float) -> None:
        """Note an end."""
        self.states.append(state)


class Engine:
    """One table, its callers and its runners; use it as a context manager.

    Parameters
    ----------
    address:
        Of the database; it is prepared.
    keys:
        Those of the operator; none makes one for this process.
    """

    def __init__(
        self,
        address: str,
        folder: Path,
        *keys: str,
        queue: int = 100,
        retention_s: float = 600.0,
        lease_s: float = LEASE_S,
    ) -> None:
        self.database = Database(address, JOBS, connections=16)
        self.database.prepare()
        self.seals = Seals(JobKeys.of([SecretStr(key) for key in keys]))
        self.limits = JobLimits(queue, retention_s, lease_s)
        self.group = uuid.uuid4().hex[:12]
        self._folder = folder
        self._bells: list[str] = []
        self.store = JobStore(self.database, self.seals, self.limits, self._ring)
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.database.close()

    def _ring(self, why: Ring) -> None:
        for address in self._bells:
            ring(address, why)

    def leases(self, name: str = "") -> Leases:
        """Return the hands of a runner that does not run."""
        return Leases(self.database, self.seals, self.limits, name or self._next_name())

    def clearing(self) -> Clearing:
        """Return what clears up."""
        return Clearing(self.database, self.seals, self.limits)

    def _next_name(self) -> str:
        self._number += 1
        return f"{self.group}.{self._number}"

    @contextlib.contextmanager
    def runner(
        self,
        kinds: Mapping[str, JobKind],
        *,
        at_once: int = 2,
        grace_s: float = 5.0,
        observer: Ended | None = None,
        outlives: bool = True,
        embedder: Callable[[Cancellation], Embedder] = lambda _: NoEmbedder(),
    ) -> Iterator[Runner]:
        """Have a runner at work in a thread; it is drained at the end."""
        leases, observer = self.leases(), observer or Ended()
        bell = Doorbell(str(self._folder / f"{leases.owner}.sock"))
        self._bells.append(str(self._folder / f"{leases.owner}.sock"))
        runner = Runner(leases, self.clearing(), bell, observer, at_once)
        bench = Bench(leases, kinds, embedder, observer, outlives)
        thread = threading.Thread(target=runner.run, args=(bench, grace_s))
        runner.start(f"{uuid.uuid4().hex}.")  # it has no predecessor
        thread.start()
        try:
            yield runner
        finally:
            runner.stop()
            thread.join(60)
            bell.close()
            assert not thread.is_alive()

    def post(self, kind: str = "echo", **more: Any) -> str:
        """Post a job that must be taken; return its id."""
        posted = self.store.post(new_job(kind, **more))
        assert isinstance(posted, Posted)
        return posted.job_id

    def final(self, job_id: str, seconds: float = 30.0) -> JobView:
        """Return a job once it has ended."""
        view = self.store.wait(job_id, seconds)
        assert view is not None
        assert view.state.is_final, view
        return view

    def closed(self, job_id: str) -> None:
        """Wait until a job has ended and has been closed."""
        self.final(job_id)
        wait_until(lambda: self.row(job_id).closing == "none", "the job to be closed")

    def row(self, job_id: str) -> Any:
        """Return a job's row."""
        with self.database.reading() as connection:
            return connection.execute(select(jobs).where(jobs.c.id == job_id)).one()

    def rows(self) -> list[Any]:
        """Return all rows."""
        with self.database.reading() as connection:
            return list(connection.execute(select(jobs)).all())


def new_job(kind: str = "echo", *, secret: bytes | None = None, **more: Any) -> NewJob:
    """Return a job with usual values where none are given."""
    sealed = None if secret is None else SecretBytes(secret)
    values: dict[str, Any] = {"payload": b"what to say", "deadline_s": 60.0}
    return NewJob(kind, **(values | more), secret=sealed)


def echo(context: JobContext) -> bytes:
    """Return the payload."""
    return context.payload


ECHO = {"echo": JobKind(echo)}
