"""What is sent once: rows of the ledger in the hands of jobs and of people, on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretBytes
from sqlalchemy import select

from serving.database import Database
from serving.webhooks.jobs.entry import Entry, EntryState, NewEntry
from serving.webhooks.jobs.handler import JobContext, JobKind
from serving.webhooks.jobs.job import JobState, Posted
from serving.webhooks.jobs.ledger import EntryLost
from serving.webhooks.jobs.parked import Parked, resend, take_seen
from serving.webhooks.jobs.tables import JOBS, ledger, schema
from tests.support.jobs import KEY, Engine
from tests.support.service import wait_until

SECRET = b"planted-token-of-a-task"


@pytest.fixture
def engine(jobs_database: str, tmp_path: Path) -> Iterator[Engine]:
    with Engine(jobs_database, tmp_path, KEY) as engine:
        yield engine


def entry(subject: str = "185714", *, keep_s: float = 600.0) -> NewEntry:
    return NewEntry("test", subject, "marker", b"what is sent" * 100, SecretBytes(SECRET), keep_s)


def do(engine: Engine, work: Callable[[JobContext], object], *, kind: str = "test.work") -> Any:
    """Do a job to its end; return what its handler has returned, or the state it ended in."""
    found: list[object] = []

    def handler(context: JobContext) -> bytes:
        found.append(work(context))
        return b""

    with engine.runner({kind: JobKind(handler)}, at_once=1):
        view = engine.final(engine.post(kind))
    return found[0] if view.state is JobState.FINISHED else view.state


def opened(state: EntryState | None = None, **more: Any) -> Callable[[JobContext], Entry]:
    def work(context: JobContext) -> Entry:
        row = context.ledger.open(entry(**more))
        if state is not None:
            context.ledger.move(row, EntryState.SENDING)
        if state not in (None, EntryState.SENDING):
            context.ledger.move(row, state, "why")
        return row

    return work


def rows(engine: Engine) -> list[Any]:
    with engine.database.reading() as connection:
        return list(connection.execute(select(ledger)).all())


def test_a_row_is_what_was_written_and_its_secret_is_sealed(engine: Engine) -> None:
    row = do(engine, opened())
    assert (row.state, row.document, row.secret.get_secret_value()) == (
        EntryState.READY,
        b"what is sent" * 100,
        SECRET,
    )
    stored = rows(engine)[0]
    assert SECRET not in stored.secret
    assert SECRET.decode() not in repr(row)


def test_a_job_finds_the_row_that_was_written_before_its_process_died(engine: Engine) -> None:
    attempts: list[EntryState | None] = []

    def handler(context: JobContext) -> bytes:
        found = context.ledger.find("test", "185714")
        attempts.append(None if found is None else found.state)
        row = context.ledger.open(entry())
        if found is None:
            context.ledger.move(row, EntryState.SENDING)
            with engine.database.writing() as connection:  # as if its runner had died
                connection.exec_driver_sql("UPDATE pathserve_jobs SET owner = 'dead', lease_until = 0")
            context.ledger.move(row, EntryState.SENT)
        return b""

    with engine.runner({"test.work": JobKind(handler)}, at_once=1):
        view = engine.final(engine.post("test.work"))
    assert (view.state, attempts) == (JobState.FINISHED, [None, EntryState.SENDING])
    assert [row.state for row in rows(engine)] == ["sending"]


def test_another_job_cannot_write_a_row_for_the_same_subject_or_change_it(engine: Engine) -> None:
    row = do(engine, opened())
    assert do(engine, opened()) is JobState.ERROR
    assert do(engine, lambda context: context.ledger.move(row, EntryState.SENDING)) is JobState.ERROR
    assert [(one.state, one.job_id) for one in rows(engine)] == [("ready", row.job_id)]


def test_a_row_goes_forward_only(engine: Engine) -> None:
    done, sending, sent = EntryState.DONE, EntryState.SENDING, EntryState.SENT

    def work(context: JobContext) -> list[str]:
        row = context.ledger.open(entry())
        wrong = []
        for state in (done, sending, done, sent, EntryState.READY):
            try:
                context.ledger.move(row, state)
            except EntryLost:
                wrong.append(str(state))
        return wrong

    assert do(engine, work) == ["done", "done", "ready"]


@pytest.mark.parametrize("state", [EntryState.DONE, EntryState.REFUSED])
def test_what_is_settled_keeps_its_digest_and_nothing_that_was_sent(
    engine: Engine, state: EntryState
) -> None:
    def work(context: JobContext) -> Entry:
        row = opened(EntryState.SENT if state is EntryState.DONE else EntryState.SENDING)(context)
        context.ledger.move(row, state)
        return row

    row = do(engine, work)
    stored = rows(engine)[0]
    assert (stored.document, stored.secret, stored.digest) == (None, None, row.digest)
    assert Parked(engine.database).all() == []


def test_a_settled_row_is_forgotten_in_time_and_a_parked_one_is_not(engine: Engine) -> None:
    do(engine, opened(EntryState.REFUSED, keep_s=0.0))
    do(engine, opened(EntryState.PARKED, subject="2", keep_s=0.0))
    wait_until(lambda: engine.clearing().sweep() == 0 and len(rows(engine)) == 1, "the row to go")
    assert [row.subject for row in rows(engine)] == ["2"]


@pytest.mark.parametrize("state", [EntryState.PARKED, EntryState.SENDING, EntryState.SENT, None])
def test_what_no_job_is_at_work_on_and_is_not_settled_waits_for_a_person(
    engine: Engine, state: EntryState | None
) -> None:
    row = do(engine, opened(state))
    parked = Parked(engine.database)
    assert [one.entry_id for one in parked.all()] == [row.entry_id]
    assert parked.count() == 1
    found = parked.get(row.entry_id[:8])
    assert found is not None
    assert (found.document, found.secret) == (row.document, None)
    assert (parked.get(""), parked.get("%")) == (None, None)


def test_what_a_job_is_at_work_on_is_not_a_persons(engine: Engine) -> None:
    parked = Parked(engine.database)
    begun, go = threading.Event(), threading.Event()

    def handler(context: JobContext) -> bytes:
        opened(EntryState.SENDING)(context)
        begun.set()
        assert go.wait(60)
        return b""

    with engine.runner({"test.work": JobKind(handler)}, at_once=1):
        job = engine.post("test.work")
        assert begun.wait(30)
        assert parked.all() == []
        row = rows(engine)[0]
        assert not parked.discard(row_of(row))
        go.set()
        engine.final(job)


def row_of(row: Any) -> Entry:
    return Entry(row.id, "test", "", "", EntryState.SENDING, "", "", "", 0.0, row.changed_at, b"", None)


def test_a_person_discards_once(engine: Engine) -> None:
    do(engine, opened(EntryState.PARKED))
    parked = Parked(engine.database)
    (seen,) = parked.all()
    assert [parked.discard(seen), parked.discard(seen)] == [True, False]
    assert parked.all() == []
    assert [(one.state, one.document) for one in rows(engine)] == [("discarded", None)]


@pytest.mark.parametrize(
    ("state", "then"),
    [
        (EntryState.PARKED, EntryState.READY),
        (EntryState.SENDING, EntryState.READY),
        (EntryState.SENT, EntryState.SENT),
    ],
)
def test_a_person_has_it_sent_again_by_a_job_that_then_owns_it(
    engine: Engine, state: EntryState, then: EntryState
) -> None:
    row = do(engine, opened(state))
    found = Parked(engine.database).get(row.entry_id)
    assert found is not None
    taken: list[Entry | None] = []

    def handler(context: JobContext) -> bytes:
        taken.extend(take_seen(context) for _ in range(2))
        return b""

    with engine.runner({"test.resend": JobKind(handler)}):
        posted = resend(found, engine.store, 60.0)
        assert isinstance(posted, Posted)
        engine.final(posted.job_id)
    assert [one and one.state for one in taken] == [then, then]
    assert taken[0] is not None
    assert taken[0].secret == SecretBytes(SECRET)


def test_what_a_person_says_twice_is_not_done_twice_even_if_it_is_parked_again_in_between(
    engine: Engine,
) -> None:
    row = do(engine, opened(EntryState.PARKED))
    found = Parked(engine.database).get(row.entry_id)
    assert found is not None
    taken: list[EntryState | None] = []

    def handler(context: JobContext) -> bytes:
        entry = take_seen(context)
        taken.append(None if entry is None else entry.state)
        if entry is not None:
            context.ledger.move(entry, EntryState.SENDING)
            context.ledger.move(entry, EntryState.PARKED, "The answer was lost again.")
        return b""

    posts = [resend(found, engine.store, 60.0) for _ in range(2)]
    with engine.runner({"test.resend": JobKind(handler)}, at_once=1):
        for post in posts:
            assert isinstance(post, Posted)
            engine.final(post.job_id)
    assert taken == [EntryState.READY, None]


def test_what_a_person_has_discarded_is_not_taken(engine: Engine) -> None:
    row = do(engine, opened(EntryState.PARKED))
    found = Parked(engine.database).get(row.entry_id)
    assert found is not None
    Parked(engine.database).discard(found)
    assert do(engine, lambda context: context.ledger.take(found.entry_id, found.changed_at)) is None


def test_a_database_of_the_version_before_gets_a_ledger(jobs_database: str) -> None:
    database = Database(jobs_database, JOBS)
    database.prepare()
    with database.writing() as connection:
        ledger.drop(connection)
        connection.execute(schema.update().values(version=1))
    database.prepare()
    with database.reading() as connection:
        assert connection.execute(select(ledger)).all() == []
        assert connection.execute(schema.select()).scalars().all() == [2]
    database.close()
