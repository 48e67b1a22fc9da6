"""Dead, sleeping and doubtful owners: on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from serving.webhooks.jobs.endings import MAX_CRASHES
from serving.webhooks.jobs.handler import Closing, JobContext, JobKind
from serving.webhooks.jobs.job import JobState, LeaseLost
from serving.webhooks.jobs.leases import Claim, Leases
from serving.webhooks.jobs.tables import jobs
from tests.support.jobs import ECHO, KEY, Engine
from tests.support.service import wait_until

OTHER_KEY = "YW5vdGhlciBrZXkgb2YgdGhpcnR5LXR3byBieXRlcy4="
SECRET = b"planted-token-77aa"


@pytest.fixture
def engine(jobs_database: str, tmp_path: Path) -> Iterator[Engine]:
    with Engine(jobs_database, tmp_path, KEY, lease_s=0.4) as engine:
        yield engine


def taken(leases: Leases) -> Claim:
    claim = leases.claim()
    assert claim is not None
    return claim


def dies(engine: Engine) -> Claim:
    """Have a runner take a job and be heard of no more."""
    claim = taken(engine.leases())
    clearing = engine.clearing()
    wait_until(lambda: clearing.sweep() == 1, "the lease to end")
    return claim


def test_a_job_is_taken_by_one_of_many_runners(engine: Engine) -> None:
    for _ in range(10):
        engine.post()
    together, claims, lock = threading.Barrier(4), [], threading.Lock()

    def work() -> None:
        leases = engine.leases()
        together.wait()
        while (claim := leases.claim()) is not None:
            with lock:
                claims.append(claim.job_id)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claims) == len(set(claims)) == 10


def test_a_dead_runners_job_is_done_by_another(engine: Engine) -> None:
    job = engine.post(secret=SECRET)
    dies(engine)
    with engine.runner(ECHO):
        view = engine.final(job)
    assert (view.state, view.attempt) == (JobState.FINISHED, 2)


def test_a_runner_that_wakes_after_its_lease_changes_nothing(engine: Engine) -> None:
    job = engine.post()
    sleeper = engine.leases()
    claim = taken(sleeper)
    wait_until(lambda: engine.clearing().sweep() == 1, "the lease to end")
    other = engine.leases()
    taken(other)
    assert sleeper.beat([job]) == {}
    assert not sleeper.renew(claim)
    assert not sleeper.progress(claim, "still here")
    assert not sleeper.give_back(claim)
    assert not sleeper.abandon(claim, "gone")
    assert not sleeper.begin_closing(claim)
    assert sleeper.end(claim, JobState.FINISHED, b"stale", "", closes=False) is None
    sleeper.closed(claim)
    row = engine.row(job)
    assert (row.state, row.owner, row.output, row.progress, row.attempt) == (
        JobState.RUNNING, other.owner, None, "", 2,
    )  # fmt: skip


def test_the_same_runner_cannot_write_by_an_earlier_lease_of_its_own(engine: Engine) -> None:
    engine.post()
    sleeper = engine.leases()
    first = taken(sleeper)
    wait_until(lambda: engine.clearing().sweep() == 1, "the lease to end")
    second = taken(sleeper)
    assert not sleeper.renew(first)
    assert sleeper.renew(second)


def test_a_handler_asks_before_it_is_seen_outside_and_is_stopped_when_the_job_is_not_its_own(
    engine: Engine,
) -> None:
    begun, go, seen = threading.Event(), threading.Event(), []

    def handler(context: JobContext) -> bytes:
        begun.set()
        assert go.wait(30)
        try:
            context.require_lease()
        except LeaseLost:
            seen.append("lost")
            raise
        seen.append("outside")
        return b""

    with engine.runner({"echo": JobKind(handler)}, at_once=1):
        job = engine.post()
        assert begun.wait(10)
        with engine.database.writing() as connection:  # as if another runner had taken it
            connection.exec_driver_sql(
                "UPDATE pathserve_jobs SET owner = 'another', fence = 99, lease_until = 9e9"
            )
        go.set()
        wait_until(lambda: bool(seen), "the handler")
    assert seen == ["lost"]
    assert engine.row(job).owner == "another"


def test_a_lease_is_kept_for_as_long_as_the_job_takes(jobs_database: str, tmp_path: Path) -> None:
    release = threading.Event()
    kinds = {"echo": JobKind(lambda context: str(release.wait(30)).encode())}
    with (
        Engine(jobs_database, tmp_path, KEY, lease_s=2.0) as engine,  # outlasts a busy machine's pauses
        engine.runner(kinds, at_once=1),
    ):
        job = engine.post()
        begun = engine.row(job).lease_until
        wait_until(lambda: engine.row(job).lease_until > begun + 3 * engine.limits.lease_s, "three leases")
        assert engine.clearing().sweep() == 0
        release.set()
        assert engine.final(job).attempt == 1


def test_a_job_whose_process_dies_again_and_again_is_given_up_and_closed(engine: Engine) -> None:
    closed: list[Closing] = []
    job = engine.post(secret=SECRET)
    for _ in range(MAX_CRASHES):
        dies(engine)
    assert engine.leases().claim() is None
    with engine.runner({"echo": JobKind(ECHO["echo"].run, closed.append)}):
        view = engine.final(job)
        engine.closed(job)
    assert (view.state, f"{MAX_CRASHES} times" in view.error) == (JobState.INTERRUPTED, True)
    assert [call.state for call in closed] == [JobState.INTERRUPTED]


def test_what_a_dead_runner_held_ends_if_it_was_to_end(engine: Engine) -> None:
    cancelled, late = engine.post(), engine.post(deadline_s=2)
    dead = engine.leases()
    taken(dead)
    taken(dead)
    engine.store.cancel(cancelled)
    clearing = engine.clearing()

    def both_ended() -> bool:
        clearing.sweep()
        views = [engine.store.get(job) for job in (cancelled, late)]
        return all(view is not None and view.state.is_final for view in views)

    wait_until(both_ended, "the sweep")
    assert engine.final(cancelled).state is JobState.CANCELLED
    assert engine.final(late).state is JobState.ERROR


def test_an_heir_does_not_wait_for_its_predecessors_lease(jobs_database: str, tmp_path: Path) -> None:
    with Engine(jobs_database, tmp_path, KEY, lease_s=600) as engine:
        job, other = engine.post(), engine.post()
        assert taken(Leases(engine.database, engine.seals, engine.limits, "group-1.1")).job_id == job
        assert taken(Leases(engine.database, engine.seals, engine.limits, "group-10.1")).job_id == other
        engine.clearing().inherit("group-1.", "group-1.2")
        heir = Leases(engine.database, engine.seals, engine.limits, "group-1.2")
        assert taken(heir).job_id == job
        assert heir.claim() is None


def test_a_runner_that_dies_between_a_jobs_end_and_its_closing_is_followed_by_one_that_closes(
    engine: Engine,
) -> None:
    closed: list[Closing] = []
    job = engine.post(secret=SECRET)
    dead = engine.leases()
    assert dead.end(taken(dead), JobState.FINISHED, b"result", "", closes=True) is JobState.FINISHED
    assert engine.final(job).output == b"result"
    with engine.runner({"echo": JobKind(ECHO["echo"].run, closed.append)}):
        engine.closed(job)
    assert [(call.state, call.is_repeated) for call in closed] == [(JobState.FINISHED, False)]
    assert engine.final(job).output == b"result"


def test_a_closing_that_was_cut_is_made_again_and_told_so(engine: Engine) -> None:
    closed: list[Closing] = []
    job = engine.post(secret=SECRET)
    dead = engine.leases()
    claim = taken(dead)
    dead.end(claim, JobState.ERROR, None, "no", closes=True)
    assert dead.begin_closing(claim)
    with engine.runner({"echo": JobKind(ECHO["echo"].run, closed.append)}):
        engine.closed(job)
    assert [(call.state, call.is_repeated) for call in closed] == [(JobState.ERROR, True)]


def test_a_secret_is_at_rest_only_sealed_and_only_until_the_job_is_closed(engine: Engine) -> None:
    job = engine.post(secret=SECRET)
    sealed = engine.row(job).secret
    assert SECRET not in sealed
    assert engine.seals.current == engine.row(job).seal
    with engine.runner({"echo": JobKind(lambda context: (context.secret or SECRET).get_secret_value())}):  # type: ignore[union-attr]
        assert engine.final(job).output == SECRET
        engine.closed(job)
    assert engine.row(job).secret is None


def test_jobs_that_nobody_has_the_key_for_are_interrupted_and_say_so(
    jobs_database: str, tmp_path: Path
) -> None:
    with Engine(jobs_database, tmp_path, lease_s=0.4) as gone:  # a key of its own, which ends with it
        waiting, running, plain = gone.post(secret=SECRET), gone.post(secret=SECRET), gone.post()
        assert taken(gone.leases()).job_id == waiting
    with Engine(jobs_database, tmp_path, OTHER_KEY, lease_s=0.4) as later, later.runner(ECHO):
        for job in (waiting, running):
            view = later.final(job)
            assert view.state is JobState.INTERRUPTED
            assert "PATHSERVE_JOBS_KEY" in view.error
        assert later.final(plain).state is JobState.FINISHED


def test_a_waiting_job_is_left_alone_while_a_runner_with_its_key_lives(
    jobs_database: str, tmp_path: Path
) -> None:
    held = threading.Event()
    with (
        Engine(jobs_database, tmp_path, KEY, lease_s=2.0) as mine,
        Engine(jobs_database, tmp_path, OTHER_KEY, lease_s=2.0) as other,
        mine.runner({"echo": JobKind(lambda _: str(held.wait(30)).encode())}, at_once=1),
        other.runner(ECHO),
    ):
        first, waiting = mine.post(secret=SECRET), mine.post(secret=SECRET)
        begun = mine.row(waiting).lease_until
        wait_until(lambda: mine.row(waiting).lease_until > begun + 7.5, "its lease to be renewed")
        assert mine.row(waiting).state == JobState.QUEUED
        held.set()
        assert mine.final(waiting).state is mine.final(first).state is JobState.FINISHED


def test_an_old_key_opens_what_it_sealed_after_a_new_one_was_put_before_it(
    jobs_database: str, tmp_path: Path
) -> None:
    with Engine(jobs_database, tmp_path, KEY) as before:
        job = before.post(secret=SECRET)
    with Engine(jobs_database, tmp_path, OTHER_KEY, KEY) as after, after.runner(ECHO):
        assert after.final(job).state is JobState.FINISHED


def test_a_row_that_was_tampered_with_is_interrupted(engine: Engine) -> None:
    job = engine.post(secret=SECRET)
    with engine.database.writing() as connection:
        connection.execute(update(jobs).values(secret=b"gAAAAA no seal of ours"))
    with engine.runner(ECHO):
        assert engine.final(job).state is JobState.INTERRUPTED
    assert engine.row(job).secret is None


def test_ended_jobs_are_forgotten_after_their_time(jobs_database: str, tmp_path: Path) -> None:
    with Engine(jobs_database, tmp_path, KEY, retention_s=0.2) as engine, engine.runner(ECHO):
        job = engine.post()
        wait_until(lambda: engine.store.get(job) is None, "the job to be forgotten")
        assert engine.rows() == []


def test_a_key_outlives_its_job_where_that_is_wanted(jobs_database: str, tmp_path: Path) -> None:
    with Engine(jobs_database, tmp_path, KEY, retention_s=0.2) as engine, engine.runner(ECHO):
        job = engine.post(key="task 1", key_s=3600, payload=b"of a patient", secret=SECRET)
        wait_until(lambda: engine.row(job).is_purged, "the job to be forgotten")
        assert engine.store.get(job) is None
        row = engine.row(job)
        assert (row.payload, row.output, row.secret) == (b"", None, None)
        assert engine.post(key="task 1") == job
        short = engine.post(key="task 2")
        wait_until(lambda: engine.store.get(short) is None, "the other to be forgotten")
        assert engine.post(key="task 2") != short
