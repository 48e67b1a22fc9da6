"""Posting exactly once: lost answers, busy servers, refusals, deaths in between; to a stand-in on TLS."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretBytes

from dicom_io.web.credentials import BearerToken
from serving.config.settings import load_settings
from serving.webhooks.jobs.entry import Entry, EntryState, NewEntry
from serving.webhooks.jobs.handler import JobContext, JobKind
from serving.webhooks.jobs.job import JobState, JobView, Posted
from serving.webhooks.jobs.parked import Parked, resend, take_seen
from serving.webhooks.techcyte.client import RUN_FIELD, TechcyteClient, api_key
from serving.webhooks.techcyte.posting import Document, Poster
from serving.webhooks.techcyte.server import transport_of
from tests.support.jobs import KEY, Engine
from tests.support.service import wait_until
from tests.support.techcyte import HANG_UP, Answer, Behaviour, Request, Techcyte, jwt

SCAN, MARKER = "8823846", "0123456789abcdef"
BODY = {"scanResults": [{"scanId": SCAN, "results": {"summary": "4 mitoses", RUN_FIELD: MARKER}}]}
TRIAGE = {"triage_category": "High", "triage_score": 0.5}


class Desk:
    """Posts results as jobs of an engine in this process.

    Attributes
    ----------
    hook:
        Called with the job's context after the entry is written.
    """

    def __init__(self, engine: Engine, server: Techcyte, **settings: str) -> None:
        usual = server.settings("a-secret-path-of-a-test") | {"PATHSERVE_TECHCYTE_ASK_S": "0"}
        self.settings = load_settings(usual | settings, {})
        self.engine, self.server = engine, server
        self.transport = transport_of(self.settings)
        self.hook: Callable[[JobContext, Entry], None] = lambda *_: None
        self.client = TechcyteClient
        body = server.request({})
        self.task = server.number_of(body)
        self.token = server.tasks[self.task].token
        server.tasks[self.task].scans = (SCAN,)
        self.case: dict[str, Any] | None = None

    def kinds(self) -> dict[str, JobKind]:
        return {"techcyte.analyse": JobKind(self._analyse), "techcyte.resend": JobKind(self._resend)}

    def _analyse(self, context: JobContext) -> bytes:
        entry = context.ledger.find("techcyte", self.task)
        if entry is None:
            document = Document(BODY, self.case).write()
            secret = SecretBytes(self.token.encode())
            entry = context.ledger.open(NewEntry("techcyte", self.task, MARKER, document, secret, keep_s=600))
            self.hook(context, entry)
        return self._poster(context, entry).post(entry).encode()

    def _resend(self, context: JobContext) -> bytes:
        entry = take_seen(context)
        assert entry is not None
        return self._poster(context, entry).post_again(entry).encode()

    def _poster(self, context: JobContext, entry: Entry) -> Poster:
        token = None if entry.secret is None else BearerToken(entry.secret.get_secret_value().decode())
        key = api_key(self.settings.techcyte)
        client = self.client(self.transport, entry.subject, token, key, context.waits)
        return Poster(client, context, self.settings.techcyte)

    def run(self) -> JobView:
        """Do a task to its end."""
        with self.engine.runner(self.kinds(), at_once=1):
            return self.engine.final(self.engine.post("techcyte.analyse"))

    def send_again(self) -> JobView:
        """Say that what is parked may be sent, and do it."""
        (row,) = Parked(self.engine.database).all()
        posted = resend(row, self.engine.store, 60.0)
        assert isinstance(posted, Posted)
        with self.engine.runner(self.kinds(), at_once=1):
            return self.engine.final(posted.job_id)

    @property
    def parked(self) -> list[Entry]:
        return Parked(self.engine.database).all()

    @property
    def counts(self) -> tuple[int, int]:
        """Posts that were made, and that were taken."""
        return self.server.posts(), self.server.taken()[self.task]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Engine(f"sqlite:///{tmp_path / 'jobs.sqlite'}", tmp_path, KEY) as engine:
        yield engine


@pytest.fixture
def desk(engine: Engine, techcyte: Techcyte) -> Desk:
    return Desk(engine, techcyte)


def to_posts(*answers: Answer | None) -> Callable[[Request], Answer | None]:
    """Answer the first posts so, and leave later ones."""
    left = list(answers)

    def answer(request: Request) -> Answer | None:
        return left.pop(0) if request.is_post and left else None

    return answer


def test_results_that_are_taken_are_posted_once_and_nothing_of_them_is_kept(desk: Desk) -> None:
    view = desk.run()
    assert (view.state, desk.counts) == (JobState.FINISHED, (1, 1))
    assert desk.server.state.accepted[desk.task] == [BODY]
    with desk.engine.database.reading() as connection:
        rows = connection.exec_driver_sql("SELECT state, document, secret FROM pathserve_ledger").all()
    assert [tuple(row) for row in rows] == [("done", None, None)]


@pytest.mark.parametrize("lost", [HANG_UP, (500, {}, b""), (502, {}, b""), (503, {}, b""), (504, {}, b"")])
def test_an_answer_that_is_lost_after_the_results_were_taken_is_found_out_by_asking(
    desk: Desk, lost: Answer
) -> None:
    desk.server.behaviour = Behaviour(after=to_posts(lost))
    view = desk.run()
    assert (view.state, desk.counts, desk.parked) == (JobState.FINISHED, (1, 1), [])


def test_no_connection_is_kept_that_could_be_half_dead_when_results_are_to_leave_on_it(
    engine: Engine, techcyte: Techcyte
) -> None:
    techcyte.keys["key-1"] = "secret-of-key-1"
    key = {"PATHSERVE_TECHCYTE_KEY_ID": "key-1", "PATHSERVE_TECHCYTE_KEY_SECRET": "secret-of-key-1"}
    desk = Desk(engine, techcyte, **key)
    techcyte.behaviour = Behaviour(before=to_posts((401, {}, b"")), after=to_posts(HANG_UP))
    assert desk.run().state is JobState.FINISHED
    asked = {(request.method, request.headers.get("connection")) for request in techcyte.state.requests}
    assert asked == {("POST", "close"), ("GET", "close")}, "a token, the results, and whether they are there"


def test_results_that_are_shown_only_later_are_asked_for_again(engine: Engine, techcyte: Techcyte) -> None:
    desk = Desk(engine, techcyte, PATHSERVE_TECHCYTE_ASK_S="30")
    empty: list[Answer] = [(200, {}, b"[]"), (503, {}, b"")]
    lose = to_posts(HANG_UP)

    def after(request: Request) -> Answer | None:
        return empty.pop() if request.is_question and empty else lose(request)

    techcyte.behaviour = Behaviour(after=after)
    view = desk.run()
    assert (view.state, desk.counts) == (JobState.FINISHED, (1, 1))


@pytest.mark.parametrize("lost", [HANG_UP, (408, {}, b""), (409, {}, b""), (500, {}, b"")])
def test_what_is_not_shown_is_parked_and_never_sent_again_by_itself(desk: Desk, lost: Answer) -> None:
    desk.server.behaviour = Behaviour(before=to_posts(lost))
    view = desk.run()
    assert (view.state, desk.counts) == (JobState.ERROR, (1, 0))
    assert "pathserve webhooks parked" in view.error
    assert [row.state for row in desk.parked] == [EntryState.PARKED]
    assert "does not show them" in desk.parked[0].note


UNREADABLE = [
    (200, {}, b""), (200, {}, b"<html>"), (200, {}, b'{"evaluations": []}'), (403, {}, b""), (404, {}, b""),
    (500, {}, b""), HANG_UP, (302, {"Location": "https://elsewhere.example/"}, b""),
]  # fmt: skip


@pytest.mark.parametrize("answer", UNREADABLE)
def test_a_list_of_evaluations_that_cannot_be_read_proves_nothing(desk: Desk, answer: Answer) -> None:
    desk.server.behaviour = Behaviour(
        after=lambda request: HANG_UP if request.is_post else answer if request.is_question else None
    )
    view = desk.run()
    assert (view.state, desk.counts, len(desk.parked)) == (JobState.ERROR, (1, 1), 1)
    assert "could not be asked" in desk.parked[0].note


@pytest.mark.parametrize(
    "evaluation",
    [
        {"task_id": 1, "details": {"report": {RUN_FIELD: MARKER}}},
        {"task_id": "TASK", "details": {"report": {RUN_FIELD: "another run"}}},
        {"task_id": "TASK", "details": {"report": RUN_FIELD}},
        {"task_id": "TASK", "details": None},
        {"task_id": None, "details": {"report": {RUN_FIELD: MARKER}}},
        [RUN_FIELD, MARKER],
        None,
    ],
)
def test_results_of_another_task_or_another_run_are_not_ours(desk: Desk, evaluation: object) -> None:
    listed = json.dumps([evaluation]).replace('"TASK"', desk.task).encode()
    desk.server.behaviour = Behaviour(
        before=lambda r: HANG_UP if r.is_post else (200, {}, listed) if r.is_question else None
    )
    assert desk.run().state is JobState.ERROR
    assert len(desk.parked) == 1


def test_a_busy_server_is_asked_again_when_it_says(desk: Desk) -> None:
    desk.server.behaviour = Behaviour(
        before=to_posts((429, {"Retry-After": "1"}, b""), (429, {"Retry-After": "nonsense"}, b""))
    )
    view = desk.run()
    assert (view.state, desk.counts) == (JobState.FINISHED, (3, 1))


def test_a_server_that_stays_busy_is_left_and_the_results_are_parked(
    engine: Engine, techcyte: Techcyte
) -> None:
    desk = Desk(engine, techcyte, PATHSERVE_TECHCYTE_RETRY_S="5")
    techcyte.behaviour = Behaviour(before=to_posts(*[(429, {"Retry-After": "3600"}, b"")] * 9))
    view = desk.run()
    assert (view.state, desk.counts) == (JobState.ERROR, (1, 0))
    assert desk.parked[0].note.startswith("Nothing was sent")


def test_a_server_that_cannot_be_connected_to_is_tried_again(
    engine: Engine, techcyte: Techcyte, techcyte_tls: tuple[Path, Path]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and listened at by nobody
        port = taken.getsockname()[1]
        desk = Desk(engine, techcyte, PATHSERVE_TECHCYTE_URL=f"https://127.0.0.1:{port}")
        with engine.runner(desk.kinds(), at_once=1):
            job = engine.post("techcyte.analyse")

            def waits() -> bool:
                view = engine.store.get(job)
                return view is not None and view.progress == "waiting for Techcyte"

            wait_until(waits, "the first try to fail")
            assert desk.parked == [], "a job is at work on it"
            taken.close()
            with Techcyte(techcyte_tls, port=port) as later:
                later.tasks = techcyte.tasks
                assert engine.final(job, 60).state is JobState.FINISHED
                assert (later.posts(), later.taken()[desk.task]) == (1, 1)


def test_a_certificate_that_is_not_trusted_means_that_nothing_was_sent(
    engine: Engine, techcyte: Techcyte, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "none.pem").touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    desk = Desk(engine, techcyte, PATHSERVE_TECHCYTE_RETRY_S="0")
    assert desk.run().state is JobState.ERROR
    assert techcyte.state.requests == []
    assert desk.parked[0].note.startswith("Nothing was sent")


@pytest.mark.parametrize("status", [400, 404, 405, 413, 415, 422])
def test_what_is_refused_is_an_error_with_a_sentence_and_nothing_is_parked(desk: Desk, status: int) -> None:
    desk.server.behaviour = Behaviour(before=to_posts((status, {}, b"planted answer")))
    view = desk.run()
    assert (view.state, desk.counts, desk.parked) == (JobState.ERROR, (1, 0), [])
    assert str(status) in view.error
    assert "planted" not in view.error


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_is_refused_is_replaced_by_the_companys_key(
    engine: Engine, techcyte: Techcyte, status: int
) -> None:
    techcyte.keys["key-1"] = "secret-of-key-1"
    desk = Desk(
        engine,
        techcyte,
        PATHSERVE_TECHCYTE_KEY_ID="key-1",
        PATHSERVE_TECHCYTE_KEY_SECRET="secret-of-key-1",
    )
    techcyte.behaviour = Behaviour(before=to_posts((status, {}, b"")))
    assert desk.run().state is JobState.FINISHED
    assert desk.counts == (2, 1)
    first, second = (request.token for request in techcyte.state.requests if request.is_post)
    assert first == desk.token != second


def test_without_a_key_the_results_wait_for_somebody_who_sets_one(desk: Desk, engine: Engine) -> None:
    desk.token = jwt()
    assert desk.run().state is JobState.ERROR
    assert desk.parked[0].note.startswith("Nothing was sent")
    desk.server.keys["key-1"] = "secret-of-key-1"
    desk.settings = load_settings(
        desk.server.settings("a-secret-path-of-a-test")
        | {"PATHSERVE_TECHCYTE_KEY_ID": "key-1", "PATHSERVE_TECHCYTE_KEY_SECRET": "secret-of-key-1"},
        {},
    )
    assert desk.send_again().state is JobState.FINISHED
    assert desk.server.taken() == {desk.task: 1}


def test_a_wrong_key_parks_the_results(engine: Engine, techcyte: Techcyte) -> None:
    desk = Desk(
        engine,
        techcyte,
        PATHSERVE_TECHCYTE_KEY_ID="key-1",
        PATHSERVE_TECHCYTE_KEY_SECRET="a-wrong-secret-00",
    )
    desk.token = jwt()
    assert desk.run().state is JobState.ERROR
    assert (desk.counts, len(desk.parked)) == ((1, 0), 1)


# People


def test_what_a_person_sends_again_is_posted_if_it_is_not_there(desk: Desk) -> None:
    desk.server.behaviour = Behaviour(before=to_posts(HANG_UP))
    desk.run()
    assert desk.send_again().state is JobState.FINISHED
    assert (desk.counts, desk.parked) == ((2, 1), [])


def test_what_a_person_sends_again_is_posted_where_techcyte_cannot_be_asked(desk: Desk) -> None:
    desk.server.behaviour = Behaviour(before=to_posts(HANG_UP))
    desk.run()
    desk.server.behaviour = Behaviour(before=lambda request: (403, {}, b"") if request.is_question else None)
    assert desk.send_again().state is JobState.FINISHED
    assert (desk.counts, desk.parked) == ((2, 1), [])


def test_what_a_person_sends_again_is_not_posted_if_it_turns_out_to_be_there(desk: Desk) -> None:
    desk.server.behaviour = Behaviour(after=to_posts(HANG_UP), shows=False)
    desk.run()
    assert len(desk.parked) == 1
    desk.server.behaviour = Behaviour()
    assert desk.send_again().state is JobState.FINISHED
    assert (desk.counts, desk.parked) == ((1, 1), [])


# Deaths


def dies(engine: Engine, context: JobContext) -> None:
    """Let the job's runner be one that has died."""
    with engine.database.writing() as connection:
        connection.exec_driver_sql(
            f"UPDATE pathserve_jobs SET owner = 'dead', lease_until = 0 WHERE id = '{context.job_id}'"
        )


def test_who_finds_that_something_may_have_been_sent_asks_and_does_not_send(desk: Desk) -> None:
    def die(context: JobContext, entry: Entry) -> None:
        context.ledger.move(entry, EntryState.SENDING)
        dies(desk.engine, context)

    desk.hook = die
    view = desk.run()
    assert (view.state, view.attempt, desk.counts, len(desk.parked)) == (JobState.ERROR, 2, (0, 0), 1)


def test_a_runner_that_is_stopped_before_it_could_send_leaves_the_results_to_the_next_one(
    engine: Engine, techcyte: Techcyte
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        mute.settimeout(60)
        desk = Desk(engine, techcyte, PATHSERVE_TECHCYTE_URL=f"https://127.0.0.1:{mute.getsockname()[1]}")
        with engine.runner(desk.kinds(), at_once=1, grace_s=0.0):
            job = engine.post("techcyte.analyse")
            connection, _ = mute.accept()  # and no word of TLS
        connection.close()
    desk.transport = transport_of(load_settings(techcyte.settings("a-secret-path-of-a-test"), {}))
    with engine.runner(desk.kinds(), at_once=1):
        assert engine.final(job, 60).state is JobState.FINISHED
    assert (desk.counts, desk.parked) == ((1, 1), [])


def ends_while(
    asked: Callable[[Request], bool], desk: Desk, engine: Engine, after: Callable[[Request], Answer | None]
) -> JobView:
    """Do a task whose runner is stopped while a request is at the server; return how the next one ends it."""
    arrived, go = threading.Event(), threading.Event()

    def hold(request: Request) -> Answer | None:
        if asked(request) and not arrived.is_set():
            arrived.set()
            assert go.wait(60)
            return HANG_UP
        return None

    desk.server.behaviour = Behaviour(before=hold, after=after)
    with engine.runner(desk.kinds(), at_once=1, grace_s=0.0):
        job = engine.post("techcyte.analyse")
        assert arrived.wait(60)
    go.set()
    assert desk.parked == []
    with engine.runner(desk.kinds(), at_once=1):
        return engine.final(job, 60)


def test_a_runner_that_is_stopped_while_it_asks_lets_the_next_one_ask(desk: Desk, engine: Engine) -> None:
    view = ends_while(lambda request: request.is_question, desk, engine, to_posts(HANG_UP))
    assert (view.state, desk.counts, desk.parked) == (JobState.FINISHED, (1, 1), [])


def test_a_runner_that_is_stopped_while_it_sets_the_triage_lets_the_next_one_set_it(
    desk: Desk, engine: Engine
) -> None:
    desk.case = TRIAGE
    assert (
        ends_while(lambda request: request.method == "PATCH", desk, engine, to_posts()).state
        is JobState.FINISHED
    )
    assert (desk.counts, desk.server.state.cases) == ((1, 1), {desk.task: [TRIAGE]})


def test_who_finds_that_nothing_was_sent_sends(desk: Desk) -> None:
    desk.hook = lambda context, _: dies(desk.engine, context)
    view = desk.run()
    assert (view.state, view.attempt, desk.counts) == (JobState.FINISHED, 2, (1, 1))


def test_a_runner_that_sleeps_between_the_ledger_and_the_request_sends_no_whole_request_when_it_wakes(
    desk: Desk,
) -> None:
    engine = desk.engine

    class Sleeper(TechcyteClient):
        def post_results(self, body: bytes, before_last: Callable[[], None]) -> None:
            with engine.database.writing() as connection:
                connection.exec_driver_sql("UPDATE pathserve_jobs SET owner = 'dead', lease_until = 0")
            super().post_results(body, before_last)

    desk.client = Sleeper
    view = desk.run()
    assert (view.state, view.attempt) == (JobState.ERROR, 2)
    assert (desk.counts, len(desk.parked)) == ((0, 0), 1)


# Triage


def test_the_triage_is_set_after_the_results_were_taken(desk: Desk) -> None:
    desk.case = TRIAGE
    assert desk.run().state is JobState.FINISHED
    assert desk.server.state.cases == {desk.task: [TRIAGE]}
    assert [request.method for request in desk.server.state.requests] == ["POST", "PATCH"]


def test_a_triage_that_cannot_be_set_is_said_and_the_results_stand(desk: Desk) -> None:
    desk.case = TRIAGE
    desk.server.behaviour = Behaviour(before=lambda r: (403, {}, b"") if r.method == "PATCH" else None)
    view = desk.run()
    assert view.state is JobState.FINISHED
    assert b"triage could not be set" in (view.output or b"")
    assert (desk.counts, desk.parked) == ((1, 1), [])


def test_a_triage_that_was_not_reached_is_set_by_the_next_process(desk: Desk) -> None:
    desk.case = TRIAGE

    def die(context: JobContext, entry: Entry) -> None:
        context.ledger.move(entry, EntryState.SENDING)
        context.ledger.move(entry, EntryState.SENT)
        dies(desk.engine, context)

    desk.hook = die
    assert desk.run().state is JobState.FINISHED
    assert (desk.server.posts(), desk.server.state.cases) == (0, {desk.task: [TRIAGE]})
