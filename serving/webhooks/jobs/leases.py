"""The runner's side of the table: taking jobs, keeping them, ending them.

Each write of an owner names the job, the owner and the number of its ownership (the fence), so that a process
which slept through its lease changes nothing when it wakes. All methods raise DatabaseLost.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretBytes
from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    Update,
    and_,
    case,
    cast,
    literal,
    null,
    or_,
    select,
    update,
)

from serving.database import Database
from serving.webhooks.jobs.endings import CANCELLED, CLOSED, UNREADABLE, JobLimits, can_open, ending
from serving.webhooks.jobs.job import JobState, LeaseLost, plain
from serving.webhooks.jobs.ledger import Insist, JobLedger
from serving.webhooks.jobs.seals import Seals, WrongKey
from serving.webhooks.jobs.tables import jobs


@dataclass(frozen=True, slots=True)
class Claim:
    """A job in this runner's hands.

    Attributes
    ----------
    seconds_left:
        Until its deadline, when it was taken.
    state:
        ``running``, or how it ended: then it is only to be closed.
    is_repeated:
        Whether a call that closes it was begun before.
    """

    job_id: str
    kind: str
    payload: bytes = field(repr=False)
    secret: SecretBytes | None
    attempt: int
    fence: int
    seconds_left: float
    state: JobState
    is_repeated: bool


class Leases:
    """One runner's jobs; safe to use from many threads.

    Parameters
    ----------
    owner:
        The runner's name, which no other process has or had.
    """

    def __init__(self, database: Database, seals: Seals, limits: JobLimits, owner: str) -> None:
        self._database = database
        self._seals = seals
        self._limits = limits
        self.owner = owner
        self.lease_s = limits.lease_s

    def ledger_of(self, claim: Claim, insist: Insist) -> JobLedger:
        """Return the ledger in the hands of a job."""
        return JobLedger(self._database, self._seals, claim.job_id, lambda: self.holding(claim), insist)

    # Taking.

    def claim(self) -> Claim | None:
        """Take the job that waits for longest, if any."""
        ready = and_(
            jobs.c.state == JobState.QUEUED, can_open(self._seals), jobs.c.deadline_at > self._database.now
        )
        values = {"state": JobState.RUNNING, "attempt": jobs.c.attempt + 1, "progress": ""}
        return self._take(ready, values)

    def claim_closing(self, mine: Iterable[str]) -> Claim | None:
        """Take an ended job that nobody is closing, if any.

        Parameters
        ----------
        mine:
            Ids of the jobs that this runner is at work on: it shall not take one from itself.
        """
        ended = and_(
            jobs.c.closing.in_(("due", "begun")),
            jobs.c.state.not_in((JobState.QUEUED, JobState.RUNNING)),
            jobs.c.id.not_in(list(mine)),
            or_(jobs.c.owner.is_(None), jobs.c.lease_until < self._database.now),
            can_open(self._seals),
        )
        return self._take(ended, {})

    def _take(self, which: ColumnElement[bool], values: dict[str, Any]) -> Claim | None:
        now = self._database.now
        oldest = select(jobs.c.id).where(which).order_by(jobs.c.created_at).limit(1)
        with self._database.reading() as connection:  # so that a runner with nothing to do locks nobody out
            if connection.execute(oldest).first() is None:
                return None
        with self._database.writing() as connection:
            job_id = connection.execute(oldest.with_for_update(skip_locked=True)).scalar()
            taken = update(jobs).where(jobs.c.id == job_id).returning(jobs, now.label("now"))
            owned = {"owner": self.owner, "fence": jobs.c.fence + 1, "lease_until": now + self.lease_s}
            row = connection.execute(taken.values(values | owned)).one_or_none()
        return None if row is None else self._claim(row)

    def _claim(self, row: Any) -> Claim | None:
        try:
            secret = None if row.secret is None else self._seals.open(row.secret, row.seal)
        except WrongKey:  # a row that was tampered with: no key opens it
            self._forget(row.id, row.fence)
            return None
        return Claim(
            row.id,
            row.kind,
            row.payload,
            secret,
            row.attempt,
            row.fence,
            row.deadline_at - row.now,
            JobState(row.state),
            row.closing == "begun",
        )

    # Keeping.

    def beat(self, mine: Iterable[str]) -> dict[str, tuple[int, bool]]:
        """Renew the leases of jobs that this runner is at work on, and of those that wait for its keys.

        Parameters
        ----------
        mine:
            Their ids. One that the table says is this runner's and is not among them is nobody's: it was
            taken by a transaction whose answer was lost.

        Returns
        -------
        For each that is still this runner's its fence, and whether its end is asked for.
        """
        lease = {"lease_until": self._database.now + self.lease_s}
        held = or_(jobs.c.state == JobState.RUNNING, jobs.c.closing != "none")
        kept = update(jobs).where(jobs.c.owner == self.owner, jobs.c.id.in_(list(mine)), held)
        waiting = update(jobs).where(jobs.c.state == JobState.QUEUED, jobs.c.seal.in_(self._seals.known))
        with self._database.writing() as connection:
            found = connection.execute(
                kept.values(lease).returning(jobs.c.id, jobs.c.fence, jobs.c.cancel_asked)
            ).all()
            connection.execute(waiting.values(lease))
        return {job_id: (fence, cancelled) for job_id, fence, cancelled in found}

    def renew(self, claim: Claim) -> bool:
        """Renew one job's lease; return whether it is still this runner's."""
        return self._write(self._running(claim).values(lease_until=self._database.now + self.lease_s))

    @contextlib.contextmanager
    def holding(self, claim: Claim) -> Iterator[Connection]:
        """Yield a connection in a transaction that renews one job's lease, and holds its row until the end.

        Raises
        ------
        LeaseLost
            When the job is not this runner's any more; nothing is written then.
        """
        renewed = self._running(claim).values(lease_until=self._database.now + self.lease_s)
        with self._database.writing() as connection:
            if connection.execute(renewed).rowcount != 1:
                raise LeaseLost
            yield connection

    def progress(self, claim: Claim, text: str) -> bool:
        """Store how far a job is; return whether it is still this runner's."""
        return self._write(self._running(claim).values(progress=plain(text)))

    # Ending.

    def end(
        self, claim: Claim, state: JobState, output: bytes | None, error: str, *, closes: bool
    ) -> JobState | None:
        """Store a job's outcome.

        Parameters
        ----------
        closes:
            Whether it is still to be closed, which this runner does next.

        Returns
        -------
        The state that it has now (``cancelled`` where that was asked for); ``None`` when it is not this
        runner's any more.
        """
        cancelled = jobs.c.cancel_asked
        now = self._database.now
        error = plain(error)
        values = ending(state, error, now, self._limits) | {
            "state": case((cancelled, JobState.CANCELLED.value), else_=state.value),
            "error": case((cancelled, CANCELLED), else_=error),
            "output": case((cancelled, null()), else_=cast(literal(output, LargeBinary), LargeBinary)),
            "owner": self.owner,
            "lease_until": now + self.lease_s,
        }
        if not closes:
            values |= CLOSED
        with self._database.writing() as connection:
            written = self._running(claim).values(values).returning(jobs.c.state)
            found = connection.execute(written).scalar()
        return None if found is None else JobState(found)

    def abandon(self, claim: Claim, error: str) -> bool:
        """End a job whose handler does not; another thread, or another runner, closes it.

        Returns
        -------
        Whether it was this runner's.
        """
        now = self._database.now
        return self._write(self._running(claim).values(ending(JobState.ERROR, error, now, self._limits)))

    def give_back(self, claim: Claim) -> bool:
        """Let another runner begin a job anew; return whether it was this runner's."""
        values = {"state": JobState.QUEUED, "owner": None, "lease_until": self._database.now + self.lease_s}
        return self._write(self._running(claim).values(values))

    def begin_closing(self, claim: Claim) -> bool:
        """Note that the call which closes a job is made now; return whether this runner may make it."""
        return self._write(self._closing(claim).values(closing="begun"))

    def closed(self, claim: Claim) -> None:
        """Let go of a job that has been closed, and of its secret."""
        self._write(self._closing(claim).values(CLOSED))

    def _forget(self, job_id: str, fence: int) -> None:
        """End a job whose secret no key opens."""
        mine = update(jobs).where(jobs.c.id == job_id, jobs.c.owner == self.owner, jobs.c.fence == fence)
        ended = ending(JobState.INTERRUPTED, UNREADABLE, self._database.now, self._limits) | CLOSED
        with self._database.writing() as connection:
            connection.execute(mine.where(jobs.c.state == JobState.RUNNING).values(ended))
            connection.execute(mine.values(CLOSED))

    def _running(self, claim: Claim) -> Update:
        return self._owned(claim).where(jobs.c.state == JobState.RUNNING)

    def _closing(self, claim: Claim) -> Update:
        return self._owned(claim).where(jobs.c.closing != "none")

    def _owned(self, claim: Claim) -> Update:
        return update(jobs).where(
            jobs.c.id == claim.job_id, jobs.c.owner == self.owner, jobs.c.fence == claim.fence
        )

    def _write(self, statement: Update) -> bool:
        with self._database.writing() as connection:
            return connection.execute(statement).rowcount == 1
