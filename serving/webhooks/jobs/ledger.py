"""What jobs send to other systems that must be sent once: a row for each, written before the request.

No engine can send exactly once over a crash in the middle of a request; a ledger says what is known. A row is
``ready`` while it is certain that nothing was sent, ``sending`` from right before the request until it is
known what became of it, then ``sent``, and ``done`` when all that follows is done as well. Who finds
``sending`` (its writer has died) must not send: it asks the other side, and where that cannot tell, it parks
the row for a person. Only the job that a row belongs to changes it, in a transaction that holds the job's
lease; a person may, once no job does.
"""

from __future__ import annotations

import hashlib
import secrets
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from sqlalchemy import ColumnElement, Connection, and_, case, exists, insert, not_, or_, select, update

from serving.database import Database
from serving.webhooks.jobs.entry import MAX_DOCUMENT_BYTES, Entry, EntryState, NewEntry, entry_of
from serving.webhooks.jobs.job import JobState, plain
from serving.webhooks.jobs.seals import Seals
from serving.webhooks.jobs.tables import jobs, ledger

T = TypeVar("T")


_BEFORE = {
    EntryState.READY: (EntryState.SENDING,),
    EntryState.SENDING: (EntryState.READY,),
    EntryState.SENT: (EntryState.READY, EntryState.SENDING),
    EntryState.DONE: (EntryState.SENT,),
    EntryState.REFUSED: (EntryState.READY, EntryState.SENDING),
    EntryState.PARKED: (EntryState.READY, EntryState.SENDING),
}
"""From which states a job may lead to each."""


class EntryLost(Exception):
    """A row is not this job's to change: another job has it, or a person has decided."""


class Insist(Protocol):
    """Does a write again for as long as the database is away and the job may go on."""

    def __call__(self, write: Callable[[], T], /) -> T:
        """Return what the write returns; raise LeaseLost or TimeoutError where the job may not go on."""


class JobLedger:
    """The ledger in the hands of one job.

    Parameters
    ----------
    holding:
        Makes a transaction that holds the job's lease; raises LeaseLost.
    insist:
        Does a write again while the database is away: what is known must not be lost with a connection.
    """

    def __init__(
        self,
        database: Database,
        seals: Seals,
        job_id: str,
        holding: Callable[[], AbstractContextManager[Connection]],
        insist: Insist,
    ) -> None:
        self._database = database
        self._seals = seals
        self._job_id = job_id
        self._holding = holding
        self._insist = insist

    def find(self, service: str, subject: str) -> Entry | None:
        """Return the row for a subject, if there is one; it may be another job's."""
        which = and_(ledger.c.service == service, ledger.c.subject == subject)
        return self._insist(lambda: self._read(which))

    def open(self, new: NewEntry) -> Entry:
        """Write down what is to be sent, as ``ready``.

        Raises
        ------
        LeaseLost
        EntryLost
            When another job has written a row for the subject.
        """
        assert len(new.document) <= MAX_DOCUMENT_BYTES
        row = _row(new, self._seals, self._job_id)

        def write() -> None:
            with self._holding() as connection:
                known = and_(ledger.c.service == new.service, ledger.c.subject == new.subject)
                found = connection.execute(select(ledger.c.id, ledger.c.job_id).where(known)).one_or_none()
                if found is not None and found.job_id != self._job_id:
                    raise EntryLost
                if found is None:  # else the answer to an earlier try was lost
                    now = self._database.now
                    connection.execute(insert(ledger).values(row | {"created_at": now, "changed_at": now}))

        self._insist(write)
        entry = self.find(new.service, new.subject)
        if entry is None:
            raise EntryLost
        return entry

    def take(self, entry_id: str, changed_at: float) -> Entry | None:
        """Make a parked row this job's, and ``ready``: a person has said that it may be sent.

        Parameters
        ----------
        changed_at:
            When it had changed last as the person saw it: what has changed since is left as it is.

        Returns
        -------
        The row; as it is where it was this job's before. ``None`` where it is neither.
        """
        state = case((ledger.c.state == EntryState.SENT, EntryState.SENT.value), else_=EntryState.READY.value)

        def write() -> None:
            mine = {"job_id": self._job_id, "state": state, "changed_at": self._database.now}
            with self._holding() as connection:
                seen = and_(ledger.c.id == entry_id, ledger.c.changed_at == changed_at)
                which = and_(seen, ledger.c.job_id != self._job_id, IS_PARKED)
                connection.execute(update(ledger).where(which).values(mine))

        self._insist(write)
        return self._insist(
            lambda: self._read(and_(ledger.c.id == entry_id, ledger.c.job_id == self._job_id))
        )

    def move(self, entry: Entry, state: EntryState, note: str = "") -> None:
        """Write down what is known now.

        Raises
        ------
        LeaseLost
        EntryLost
        """

        def write() -> None:
            values = _changed(state, note, self._database.now)
            which = and_(
                ledger.c.id == entry.entry_id,
                ledger.c.job_id == self._job_id,
                # Again where the answer to an earlier try was lost.
                ledger.c.state.in_((*_BEFORE[state], state)),
            )
            with self._holding() as connection:
                if connection.execute(update(ledger).where(which).values(values)).rowcount != 1:
                    raise EntryLost

        self._insist(write)

    def _read(self, which: ColumnElement[bool]) -> Entry | None:
        with self._database.reading() as connection:
            row = connection.execute(select(ledger).where(which)).one_or_none()
        return None if row is None else entry_of(row, self._seals)


def _row(new: NewEntry, seals: Seals, job_id: str) -> dict[str, Any]:
    return {
        "id": secrets.token_hex(16),
        "service": new.service,
        "subject": new.subject,
        "marker": new.marker,
        "state": EntryState.READY,
        "job_id": job_id,
        "digest": hashlib.sha256(new.document).hexdigest(),
        "keep_s": new.keep_s,
        "seal": None if new.secret is None else seals.current,
        "secret": None if new.secret is None else seals.seal(new.secret),
        "document": zlib.compress(new.document),
    }


def _changed(state: EntryState, note: str, now: ColumnElement[float]) -> dict[str, Any]:
    """Return what is written to a row that changes."""
    values: dict[str, Any] = {"state": state, "note": plain(note), "changed_at": now}
    if state.is_settled:
        values |= {"keep_until": now + ledger.c.keep_s, "document": None, "secret": None, "seal": None}
    return values


_IS_AT_WORK = exists(
    select(jobs.c.id).where(
        jobs.c.id == ledger.c.job_id, jobs.c.state.in_((JobState.QUEUED, JobState.RUNNING))
    )
)

IS_PARKED: ColumnElement[bool] = or_(
    ledger.c.state == EntryState.PARKED,
    and_(ledger.c.state.in_((EntryState.READY, EntryState.SENDING, EntryState.SENT)), not_(_IS_AT_WORK)),
)
"""Which rows wait for a person: parked ones, and those whose job has ended before they were settled.

Jobs end without a word of theirs: when their time is over, or when no key opens their secret any more.
"""


def discarded(now: ColumnElement[float]) -> dict[str, Any]:
    """Return what is written to a row that a person has discarded."""
    return _changed(EntryState.DISCARDED, "discarded by a person", now)
