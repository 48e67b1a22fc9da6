"""A person's side of the ledger: what is parked, and what is to become of it."""

from __future__ import annotations

import orjson
from sqlalchemy import ColumnElement, and_, func, null, select, update

from serving.database import Database
from serving.webhooks.jobs.entry import Entry, entry_of
from serving.webhooks.jobs.handler import JobContext
from serving.webhooks.jobs.job import NewJob, Posted, QueueFull
from serving.webhooks.jobs.ledger import IS_PARKED, discarded
from serving.webhooks.jobs.store import JobStore
from serving.webhooks.jobs.tables import ledger

_SHOWN = 1000


class Parked:
    """The rows that wait for a person. All methods raise DatabaseLost."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[Entry]:
        """Return the oldest ones, without their documents."""
        large = ("document", "secret")
        columns = [null().label(column.name) if column.name in large else column for column in ledger.c]
        asked = select(*columns).where(IS_PARKED).order_by(ledger.c.created_at).limit(_SHOWN)
        with self._database.reading() as connection:
            return [entry_of(row, None) for row in connection.execute(asked)]

    def get(self, beginning: str) -> Entry | None:
        """Return the one whose id begins so; ``None`` where there is none, or more than one.

        No id begins with nothing: that is an empty variable of somebody's shell, and would mean whatever is
        parked alone.
        """
        if not beginning:
            return None
        asked = select(ledger).where(self._named(beginning)).limit(2)
        with self._database.reading() as connection:
            rows = connection.execute(asked).all()
        return entry_of(rows[0], None) if len(rows) == 1 else None

    def count(self) -> int:
        """Return how many there are."""
        with self._database.reading() as connection:
            return connection.execute(select(func.count()).select_from(ledger).where(IS_PARKED)).scalar_one()

    def discard(self, entry: Entry) -> bool:
        """Never send it; return whether it was still parked, as it was looked at."""
        seen = ledger.c.changed_at == entry.changed_at
        which = and_(ledger.c.id == entry.entry_id, seen, IS_PARKED)
        with self._database.writing() as connection:
            changed = update(ledger).where(which).values(discarded(self._database.now))
            return connection.execute(changed).rowcount == 1

    def _named(self, beginning: str) -> ColumnElement[bool]:
        return and_(ledger.c.id.startswith(beginning, autoescape=True), IS_PARKED)


def resend_kind(service: str) -> str:
    """Return the kind of the jobs that send a service's parked rows."""
    return f"{service}.resend"


def resend(entry: Entry, store: JobStore, deadline_s: float) -> Posted | QueueFull:
    """Have a runner send a parked row, whose service must have a handler for that.

    It is sent as it was looked at: of two such jobs the second finds that the first has taken it.

    Raises
    ------
    DatabaseLost
    """
    seen = orjson.dumps([entry.entry_id, entry.changed_at])
    return store.post(NewJob(resend_kind(entry.service), seen, deadline_s))


def take_seen(context: JobContext) -> Entry | None:
    """Return what a job made by ``resend`` is about, as its own; ``None`` where it has changed since."""
    entry_id, changed_at = orjson.loads(context.payload)
    return context.ledger.take(entry_id, changed_at)
