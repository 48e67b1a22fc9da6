"""``pathserve webhooks parked``: what a person sees and decides."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretBytes

from serving.__main__ import main
from serving.config.exit_status import ExitStatus
from serving.webhooks.jobs.entry import EntryState, NewEntry
from serving.webhooks.jobs.handler import JobContext, JobFailed, JobKind
from serving.webhooks.jobs.parked import Parked, take_seen
from tests.support.jobs import KEY, Engine

SECRET = "planted-token-of-a-task"


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    address = f"sqlite:///{tmp_path / 'jobs.sqlite'}"
    monkeypatch.setenv("PATHSERVE_JOBS_DATABASE", address)
    with Engine(address, tmp_path, KEY) as engine:
        yield engine


def park(engine: Engine, task: str, state: EntryState = EntryState.PARKED) -> str:
    """Park a row; return its id."""
    found: list[str] = []

    def handler(context: JobContext) -> bytes:
        new = NewEntry("techcyte", task, "marker", b'{"body":{"a":1}}', SecretBytes(SECRET.encode()), 60)
        entry = context.ledger.open(new)
        context.ledger.move(entry, EntryState.SENDING)
        if state is not EntryState.SENDING:
            context.ledger.move(entry, state, "The answer was lost.")
        found.append(entry.entry_id)
        return b""

    with engine.runner({"techcyte.analyse": JobKind(handler)}):
        engine.final(engine.post("techcyte.analyse"))
    return found[0]


def parked(*arguments: str) -> ExitStatus:
    return main(["webhooks", "parked", *arguments])


def test_what_is_parked_is_listed_and_shown_without_its_secret(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert parked("list") is ExitStatus.OK
    assert capsys.readouterr().out == "Nothing is parked.\n"
    first, second = park(engine, "1"), park(engine, "2", EntryState.SENDING)
    assert parked("list") is ExitStatus.OK
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[:3] for line in lines] == [
        [first[:8], "techcyte", "1"],
        [second[:8], "techcyte", "2"],
    ]
    assert lines[0].endswith("The answer was lost.")
    assert "before it was known" in lines[1]
    assert parked("show", first[:8]) is ExitStatus.OK
    shown = capsys.readouterr().out
    assert json.loads(shown)["content"] == {"body": {"a": 1}}
    assert SECRET not in shown


def test_what_is_discarded_is_gone(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    entry = park(engine, "1")
    assert parked("discard", entry) is ExitStatus.OK
    assert Parked(engine.database).all() == []
    assert parked("discard", entry) is ExitStatus.FAULT
    assert "nothing" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["show", "resend", "discard"])
@pytest.mark.parametrize("beginning", ["", "zz", "%", "' OR 1=1 --"])
def test_an_id_that_means_none_or_several_does_nothing(
    engine: Engine, command: str, beginning: str, capsys: pytest.CaptureFixture[str]
) -> None:
    park(engine, "1")
    park(engine, "2")
    assert parked(command, beginning) is ExitStatus.FAULT
    assert "is parked as" in capsys.readouterr().err
    assert len(Parked(engine.database).all()) == 2


@pytest.mark.parametrize("command", ["show", "resend", "discard"])
def test_an_empty_id_does_not_mean_what_is_parked_alone(
    engine: Engine, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    park(engine, "1")
    assert parked(command, "") is ExitStatus.FAULT
    assert "is parked as ''" in capsys.readouterr().err
    assert len(Parked(engine.database).all()) == 1


def test_what_has_changed_since_it_was_looked_at_is_not_discarded(engine: Engine) -> None:
    rows = Parked(engine.database)
    seen = rows.get(park(engine, "1"))
    assert seen is not None
    assert not rows.discard(replace(seen, changed_at=seen.changed_at - 1))
    assert len(rows.all()) == 1
    assert rows.discard(seen)


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "soon"])
def test_a_wait_that_has_no_end_is_refused(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parked("resend", "1", "--wait", seconds)
    assert "--wait" in capsys.readouterr().err


def test_a_runner_sends_what_a_person_says_and_the_person_is_told(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = park(engine, "1")

    def sends(context: JobContext) -> bytes:
        taken = take_seen(context)
        assert taken is not None
        context.ledger.move(taken, EntryState.SENT)
        context.ledger.move(taken, EntryState.DONE)
        return b""

    with engine.runner({"techcyte.resend": JobKind(sends)}):
        assert parked("resend", entry) is ExitStatus.OK
    assert "has it" in capsys.readouterr().out
    assert Parked(engine.database).all() == []


def test_what_could_not_be_sent_is_said_and_stays_parked(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = park(engine, "1")

    def fails(context: JobContext) -> bytes:
        raise JobFailed("The token has expired.")

    with engine.runner({"techcyte.resend": JobKind(fails)}):
        assert parked("resend", entry) is ExitStatus.FAULT
    assert "The token has expired." in capsys.readouterr().err
    assert len(Parked(engine.database).all()) == 1
    with engine.runner({"techcyte.resend": JobKind(lambda _: b"")}):
        assert parked("resend", entry) is ExitStatus.OK, "a later one is a new try"


def test_without_a_runner_it_waits_for_one(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    entry = park(engine, "1")
    assert parked("resend", entry, "--wait", "0.1") is ExitStatus.OK
    assert "waits for the runner" in capsys.readouterr().out
    assert [row.kind for row in engine.rows()].count("techcyte.resend") == 1


def test_a_database_that_cannot_be_used_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATHSERVE_JOBS_DATABASE", "sqlite:////proc/no/such.sqlite")
    assert parked("list") is ExitStatus.MISCONFIGURED
    assert "PATHSERVE_JOBS_DATABASE" in capsys.readouterr().err
