"""What becomes of jobs: handlers, ends, closings, deadlines, drains; on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.errors import unavailable
from serving.webhooks.jobs import heartbeat
from serving.webhooks.jobs.handler import Closing, JobContext, JobFailed, JobKind
from serving.webhooks.jobs.job import MAX_TEXT_LENGTH, JobState
from tests.support.jobs import ECHO, KEY, Ended, Engine
from tests.support.service import wait_until

SECRET = b"planted-token-77aa"


@pytest.fixture
def engine(jobs_database: str, tmp_path: Path) -> Iterator[Engine]:
    with Engine(jobs_database, tmp_path, KEY) as engine:
        yield engine


class Closed:
    """Notes how jobs are closed."""

    def __init__(self) -> None:
        self.calls: list[Closing] = []

    def __call__(self, closing: Closing) -> None:
        self.calls.append(closing)

    @property
    def states(self) -> list[JobState]:
        return [call.state for call in self.calls]


class Held:
    """A handler that holds on until it is let go, or its waits end."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()
        self.contexts: list[JobContext] = []

    def __call__(self, context: JobContext) -> bytes:
        self.contexts.append(context)
        self.begun.set()
        while not self.go.is_set():
            if context.waits.stop.wait(0.01) or time.monotonic() > context.waits.deadline:
                raise TimeoutError
        return b"done"


def fail(_: JobContext) -> bytes:
    raise JobFailed("The region has no tissue; choose another.", b"[]")


def stumble(_: JobContext) -> bytes:
    raise ValueError(f"a text with {SECRET.decode()}")


def overloaded(_: JobContext) -> bytes:
    raise unavailable("The embedding service is overloaded.")


def test_a_job_is_done_and_its_output_is_kept(engine: Engine) -> None:
    ended = Ended()
    with engine.runner(ECHO, observer=ended):
        view = engine.final(engine.post(payload=b"\x00\xff" * 1000))
    assert (view.state, view.output, view.error, view.attempt) == (
        JobState.FINISHED,
        b"\x00\xff" * 1000,
        "",
        1,
    )
    assert ended.states == [JobState.FINISHED]


def test_jobs_begin_in_the_order_in_which_they_were_posted(engine: Engine) -> None:
    seen: list[bytes] = []

    def note(context: JobContext) -> bytes:
        seen.append(context.payload)
        return b""

    for number in range(6):
        engine.post(payload=b"%d" % number)
    with engine.runner({"echo": JobKind(note)}, at_once=1):
        wait_until(lambda: len(seen) == 6, "six jobs")
    assert seen == [b"0", b"1", b"2", b"3", b"4", b"5"]


def test_no_more_jobs_run_at_once_than_are_allowed(engine: Engine) -> None:
    held = Held()
    jobs = [engine.post("held") for _ in range(5)]
    with engine.runner({"held": JobKind(held)}, at_once=2):
        wait_until(lambda: len(held.contexts) == 2, "two jobs")
        wait_until(lambda: engine.store.counts()[JobState.RUNNING] == 2, "both to be said to run")
        assert engine.store.counts()[JobState.QUEUED] == 3
        held.go.set()
        assert {engine.final(job).state for job in jobs} == {JobState.FINISHED}


def test_a_failed_job_says_why_and_may_have_an_output(engine: Engine) -> None:
    with engine.runner({"fail": JobKind(fail)}):
        view = engine.final(engine.post("fail"))
    assert (view.state, view.error, view.output) == (
        JobState.ERROR,
        "The region has no tissue; choose another.",
        b"[]",
    )


def test_an_unforeseen_fault_ends_the_job_and_quotes_nothing(engine: Engine) -> None:
    with engine.runner({"stumble": JobKind(stumble)}):
        view = engine.final(engine.post("stumble"))
    assert view.state is JobState.ERROR
    assert "its log has the job's id" in view.error
    assert SECRET.decode() not in view.error


def test_a_fault_of_the_table_of_errors_is_told_in_its_own_words(engine: Engine) -> None:
    with engine.runner({"overloaded": JobKind(overloaded)}):
        assert engine.final(engine.post("overloaded")).error == "The embedding service is overloaded."


def test_a_job_of_an_unknown_kind_is_an_error(engine: Engine) -> None:
    with engine.runner(ECHO):
        view = engine.final(engine.post("nobody"))
    assert (view.state, view.error) == (JobState.ERROR, "This service has no such analysis.")


def test_progress_is_seen_while_the_job_runs(engine: Engine) -> None:
    held = Held()

    def work(context: JobContext) -> bytes:
        context.progress("100 of 4,000 patches")
        context.progress("200 of 4,000 patches" + "!" * 5000)
        return held(context)

    with engine.runner({"work": JobKind(work)}):
        job = engine.post("work")
        wait_until(lambda: "200 of" in (getattr(engine.store.get(job), "progress", "")), "the latest text")
        assert len(getattr(engine.store.get(job), "progress", "")) == MAX_TEXT_LENGTH
        held.go.set()
        engine.final(job)


def test_a_running_job_is_cancelled(engine: Engine) -> None:
    held, closed = Held(), Closed()
    with engine.runner({"held": JobKind(held, closed)}):
        job = engine.post("held", secret=SECRET)
        assert held.begun.wait(10)
        engine.store.cancel(job)
        view = engine.final(job)
        engine.closed(job)
    assert (view.state, view.error, view.output) == (JobState.CANCELLED, "The job was cancelled.", None)
    assert closed.states == [JobState.CANCELLED]


def test_what_a_handler_returns_after_the_cancelling_is_not_given_out(engine: Engine) -> None:
    job = engine.post()
    leases = engine.leases()
    claim = leases.claim()
    assert claim is not None
    engine.store.cancel(job)
    assert leases.end(claim, JobState.FINISHED, b"late", "", closes=False) is JobState.CANCELLED
    assert engine.final(job).output is None


def test_a_job_out_of_time_ends_as_an_error_and_is_closed(engine: Engine) -> None:
    closed = Closed()
    with engine.runner({"held": JobKind(Held(), closed)}):
        job = engine.post("held", deadline_s=0.3, secret=SECRET)
        view = engine.final(job)
        engine.closed(job)
    assert (view.state, "time was over before it was finished" in view.error) == (JobState.ERROR, True)
    assert closed.states == [JobState.ERROR]


def test_a_job_that_waits_for_too_long_is_never_started_and_yet_closed(engine: Engine) -> None:
    held, closed = Held(), Closed()
    with engine.runner({"held": JobKind(held), "late": JobKind(Held(), closed)}, at_once=1):
        engine.post("held")
        assert held.begun.wait(10)
        late = engine.post("late", deadline_s=0.2, secret=SECRET)
        view = engine.final(late)
        engine.closed(late)
        held.go.set()
    assert (view.state, view.attempt, "before it could be started" in view.error) == (JobState.ERROR, 0, True)
    assert [call.secret.get_secret_value() for call in closed.calls if call.secret] == [SECRET]


def test_a_handler_that_does_not_end_loses_its_job_and_the_runner_ends_when_all_are_so(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "_OVERRUN_S", 0.2)
    for_ever, closed, ended = threading.Event(), Closed(), Ended()

    def deaf(_: JobContext) -> bytes:
        for_ever.wait(60)
        return b"too late"

    with engine.runner({"deaf": JobKind(deaf, closed)}, at_once=1, observer=ended):
        job = engine.post("deaf", deadline_s=0.2)
        assert engine.final(job).state is JobState.ERROR
        wait_until(lambda: any(turn["stuck"] == 1 for turn in ended.turns), "the thread to count as stuck")
        waiting = engine.post()  # nobody does it here any more
    assert engine.row(waiting).state == JobState.QUEUED
    with engine.runner(ECHO | {"deaf": JobKind(deaf, closed)}):
        engine.closed(job)
        assert engine.final(waiting).state is JobState.FINISHED
    for_ever.set()
    assert closed.states == [JobState.ERROR]
    assert engine.final(job).output is None


@pytest.mark.parametrize("handler", [Held, lambda: fail, lambda: stumble])
def test_a_job_is_closed_once_with_its_secret_which_then_is_gone(engine: Engine, handler: object) -> None:
    closed = Closed()
    run = handler()  # type: ignore[operator]
    if isinstance(run, Held):
        run.go.set()
    with engine.runner({"any": JobKind(run, closed)}):
        job = engine.post("any", secret=SECRET)
        state = engine.final(job).state
        engine.closed(job)
    (call,) = closed.calls
    assert call.secret is not None
    assert (call.secret.get_secret_value(), call.state, call.is_repeated) == (SECRET, state, False)
    assert SECRET.decode() not in repr(call)
    assert (engine.row(job).secret, engine.row(job).seal) == (None, None)


def test_a_closing_that_fails_is_not_made_again(engine: Engine) -> None:
    calls: list[Closing] = []

    def close(closing: Closing) -> None:
        calls.append(closing)
        raise OSError("the site is away")

    with engine.runner({"echo": JobKind(ECHO["echo"].run, close)}):
        job = engine.post(secret=SECRET)
        engine.closed(job)
    assert len(calls) == 1
    assert engine.final(job).state is JobState.FINISHED


def test_a_drain_finishes_what_has_begun(engine: Engine) -> None:
    held, closed = Held(), Closed()
    with engine.runner({"held": JobKind(held, closed)}) as runner:
        job, waiting = engine.post("held", secret=SECRET), engine.post("unknown yet")
        assert held.begun.wait(10)
        wait_until(lambda: engine.final(waiting).state is JobState.ERROR, "the other")
        runner.stop()
        later = engine.post("held")
        held.go.set()
        assert engine.final(job).state is JobState.FINISHED
    assert closed.states == [JobState.FINISHED]
    assert engine.row(later).state == JobState.QUEUED


def test_a_drain_gives_back_what_does_not_finish_and_another_runner_does_it(engine: Engine) -> None:
    held, closed = Held(), Closed()
    with engine.runner({"held": JobKind(held, closed)}, grace_s=0.2):
        job = engine.post("held", secret=SECRET)
        assert held.begun.wait(10)
    assert (engine.row(job).state, engine.row(job).crashes) == (JobState.QUEUED, 0)
    held.go.set()
    with engine.runner({"held": JobKind(held, closed)}):
        view = engine.final(job)
        engine.closed(job)
    assert (view.state, view.attempt) == (JobState.FINISHED, 2)
    assert closed.states == [JobState.FINISHED]


def test_with_keys_that_end_with_the_group_a_drain_says_that_jobs_are_interrupted(
    jobs_database: str, tmp_path: Path
) -> None:
    held, closed = Held(), Closed()
    with Engine(jobs_database, tmp_path) as engine:
        with engine.runner({"held": JobKind(held, closed)}, at_once=1, grace_s=1.0, outlives=False):
            job, waiting = engine.post("held", secret=SECRET), engine.post("held", secret=SECRET)
            plain = engine.post("held")
            assert held.begun.wait(10)
        for lost in (job, waiting):
            assert engine.final(lost).state is JobState.INTERRUPTED
            assert "Send it again" in engine.final(lost).error
        assert engine.row(plain).state == JobState.QUEUED
        assert closed.states == [JobState.INTERRUPTED] * 2
