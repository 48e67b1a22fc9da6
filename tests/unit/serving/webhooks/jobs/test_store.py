"""Posting jobs, asking for them, cancelling them: on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serving.webhooks.jobs.job import JobState, Posted, QueueFull
from tests.support.jobs import ECHO, KEY, Engine, new_job


@pytest.fixture
def engine(jobs_database: str, tmp_path: Path) -> Iterator[Engine]:
    with Engine(jobs_database, tmp_path, KEY, queue=20) as engine:
        yield engine


def test_a_posted_job_waits_until_somebody_does_it(engine: Engine) -> None:
    view = engine.store.get(engine.post())
    assert view is not None
    assert (view.state, view.output, view.progress, view.attempt) == (JobState.QUEUED, None, "", 0)


def test_an_id_is_128_random_bits_and_others_are_unknown(engine: Engine) -> None:
    ids = {engine.post() for _ in range(5)}
    assert len(ids) == 5
    assert all(len(bytes.fromhex(job_id)) == 16 for job_id in ids)
    for unknown in ("", "0" * 32, "' OR 1=1 --", "\x00", "\ud800", "é" * 99):
        assert engine.store.get(unknown) is None
        engine.store.cancel(unknown)


@pytest.mark.parametrize("key", ["", "\x00", "\ud800", "é" * 100_000])
def test_any_text_can_be_a_key(engine: Engine, key: str) -> None:
    assert engine.post(key=key) == engine.post(key=key)


def test_sixteen_posts_with_one_key_at_the_same_time_are_one_job(engine: Engine) -> None:
    together = threading.Barrier(16)

    def post(_: int) -> Posted:
        together.wait()
        posted = engine.store.post(new_job(key="task 185714"))
        assert isinstance(posted, Posted)
        return posted

    with ThreadPoolExecutor(16) as pool:
        posts = list(pool.map(post, range(16)))
    assert len({posted.job_id for posted in posts}) == 1
    assert sum(posted.is_new for posted in posts) == 1
    assert len(engine.rows()) == 1


def test_jobs_without_a_key_are_all_different(engine: Engine) -> None:
    assert len({engine.post() for _ in range(3)} | {engine.post(key="a"), engine.post(key="b")}) == 5


def test_beyond_the_queue_posts_are_refused_and_told_when_to_come_again(engine: Engine) -> None:
    together = threading.Barrier(8)

    def post(_: int) -> list[Posted | QueueFull]:
        together.wait()
        return [engine.store.post(new_job()) for _ in range(4)]

    with ThreadPoolExecutor(8) as pool:
        answers = [answer for some in pool.map(post, range(8)) for answer in some]
    refused = [answer for answer in answers if isinstance(answer, QueueFull)]
    assert len(answers) - len(refused) == len(engine.rows()) == 20
    error = refused[0].as_error()
    assert error.retry_after_s is not None
    assert error.retry_after_s >= 1


def test_what_must_not_be_refused_has_room_beyond_the_queue_and_a_bound_of_its_own(engine: Engine) -> None:
    while isinstance(engine.store.post(new_job()), Posted):
        pass
    answers = [engine.store.post(new_job(beyond_queue=2)) for _ in range(3)]
    assert [isinstance(answer, Posted) for answer in answers] == [True, True, False]


def test_a_key_that_is_known_is_answered_even_when_the_queue_is_full(engine: Engine) -> None:
    first = engine.post(key="mine")
    while isinstance(engine.store.post(new_job()), Posted):
        pass
    assert engine.store.post(new_job(key="mine")) == Posted(first, is_new=False)


def test_a_waiting_job_is_cancelled_at_once(engine: Engine) -> None:
    job_id = engine.post()
    engine.store.cancel(job_id)
    view = engine.store.get(job_id)
    assert view is not None
    assert (view.state, view.error) == (JobState.CANCELLED, "The job was cancelled.")
    assert engine.leases().claim() is None


def test_cancelling_what_has_ended_or_never_was_changes_nothing(engine: Engine) -> None:
    with engine.runner(ECHO):
        done = engine.final(engine.post())
    engine.store.cancel(done.job_id)
    engine.store.cancel("0" * 32)
    assert engine.store.get(done.job_id) == done


def test_counts_are_by_state(engine: Engine) -> None:
    engine.post()
    engine.store.cancel(engine.post())
    counts = engine.store.counts()
    assert set(counts) == set(JobState)
    assert (counts[JobState.QUEUED], counts[JobState.CANCELLED], counts[JobState.FINISHED]) == (1, 1, 0)


def test_waiting_for_a_job_ends_with_it_or_with_the_time(engine: Engine) -> None:
    job_id = engine.post()
    waiting = engine.store.wait(job_id, 0.1)
    assert waiting is not None
    assert waiting.state is JobState.QUEUED
    assert engine.store.wait("0" * 32, 5) is None
    with engine.runner(ECHO):
        done = engine.store.wait(job_id, 30)
    assert done is not None
    assert done.output == b"what to say"
