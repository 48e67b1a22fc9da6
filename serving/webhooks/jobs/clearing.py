"""Clearing up: what ran out of time, what dead runners held, what nobody may ask for any more.

Every runner does it. Each statement says which jobs it is about, so that two at the same time do no harm. All
functions raise DatabaseLost.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, not_, or_, select, update

from serving.database import Database
from serving.webhooks.jobs.endings import (
    CANCELLED,
    CLOSED,
    CRASHED,
    MAX_CRASHES,
    NEVER_STARTED,
    OUT_OF_TIME,
    UNREADABLE,
    JobLimits,
    can_open,
    ending,
)
from serving.webhooks.jobs.job import JobState
from serving.webhooks.jobs.seals import Seals
from serving.webhooks.jobs.tables import jobs, ledger

_RUNNING = jobs.c.state == JobState.RUNNING
_WAITING = jobs.c.state == JobState.QUEUED


class Clearing:
    """Clears up in the table of jobs."""

    def __init__(self, database: Database, seals: Seals, limits: JobLimits) -> None:
        self._database = database
        self._seals = seals
        self._limits = limits

    def sweep(self) -> int:
        """Do all that is due; return how many jobs were changed."""
        now = self._database.now
        late = and_(_WAITING, jobs.c.deadline_at <= now)
        dead = and_(_RUNNING, jobs.c.lease_until < now)
        # Those that wait have a lease, too, if they need a key: whoever has the key renews it.
        unreadable = and_(or_(_WAITING, _RUNNING), not_(can_open(self._seals)), jobs.c.lease_until < now)
        old = and_(jobs.c.keep_until < now, or_(not_(jobs.c.is_purged), jobs.c.key_until < now))
        due = select(jobs.c.id).where(or_(late, dead, unreadable, old)).limit(1)
        forgotten = select(ledger.c.id).where(ledger.c.keep_until < now).limit(1)
        with self._database.reading() as connection:  # mostly nothing is to be done, and nobody locked out
            if all(connection.execute(asked).first() is None for asked in (due, forgotten)):
                return 0
        with self._database.writing() as connection:
            ended = self._write(connection, unreadable, self._ended(JobState.INTERRUPTED, UNREADABLE))
            ended += self._write(connection, late, self._ended(JobState.ERROR, NEVER_STARTED))
            connection.execute(delete(ledger).where(ledger.c.keep_until < now))
            return ended + self._free(connection, dead) + self._purge(connection)

    def inherit(self, group: str, heir: str) -> int:
        """Free what a group's earlier runners held, which have ended: it need not wait for its lease.

        Parameters
        ----------
        group:
            What the names of the group's runners begin with.
        heir:
            The runner that has taken their place.
        """
        theirs = and_(jobs.c.owner.startswith(group, autoescape=True), jobs.c.owner != heir)
        with self._database.writing() as connection:
            freed = self._free(connection, and_(_RUNNING, theirs))
            return freed + self._write(connection, theirs, {"owner": None})

    def interrupt_unreadable(self) -> int:
        """End the waiting jobs that nobody can do once this process group, and its keys, are gone."""
        waiting = and_(_WAITING, jobs.c.seal.in_(self._seals.known))
        with self._database.writing() as connection:
            return self._write(connection, waiting, self._ended(JobState.INTERRUPTED, UNREADABLE))

    def _free(self, connection: Connection, dead: ColumnElement[bool]) -> int:
        """Let what dead runners held begin anew, unless it shall end."""
        now = self._database.now
        crashed = {"crashes": jobs.c.crashes + 1}
        again = {"state": JobState.QUEUED, "owner": None, "lease_until": now + self._limits.lease_s}
        return sum(
            self._write(connection, and_(dead, which), values | crashed)
            for which, values in (
                (jobs.c.cancel_asked, self._ended(JobState.CANCELLED, CANCELLED)),
                (jobs.c.deadline_at <= now, self._ended(JobState.ERROR, OUT_OF_TIME)),
                (jobs.c.crashes + 1 >= MAX_CRASHES, self._ended(JobState.INTERRUPTED, CRASHED)),
                (jobs.c.id.is_not(None), again),
            )
        )

    def _purge(self, connection: Connection) -> int:
        now = self._database.now
        old = jobs.c.keep_until < now
        gone = connection.execute(delete(jobs).where(old, jobs.c.key_until < now)).rowcount
        remembered = {"is_purged": True, "payload": b"", "output": None, "error": "", "progress": ""}
        return gone + self._write(connection, and_(old, not_(jobs.c.is_purged)), remembered | CLOSED)

    def _ended(self, state: JobState, error: str) -> dict[str, Any]:
        return ending(state, error, self._database.now, self._limits)

    @staticmethod
    def _write(connection: Connection, which: ColumnElement[bool], values: dict[str, Any]) -> int:
        return connection.execute(update(jobs).where(which).values(values)).rowcount
