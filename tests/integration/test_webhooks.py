"""The process group ``pathserve webhooks``: real processes, killed, stopped, drained; on both databases."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from serving.config.exit_status import ExitStatus
from serving.webhooks.service.launcher import MAX_BODY_BYTES
from tests.support.service import Service, wait_until
from tests.support.webhooks import WebhookService


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="ascii").splitlines() if path.exists() else []


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def groups(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[WebhookService, WebhookService]]:
    """Two groups at one database, for tests that leave them as they were."""
    if request.param == "sqlite":
        database = f"sqlite:///{tmp_path_factory.mktemp('jobs') / 'jobs.sqlite'}"
    else:
        database = request.getfixturevalue("postgres").new_database()
    with WebhookService(database) as one, WebhookService(database) as two:
        yield one.wait_healthy(), two.wait_healthy()


Groups = tuple[WebhookService, WebhookService]


def test_a_job_is_posted_done_and_fetched_by_any_worker_of_any_group(groups: Groups) -> None:
    one, two = groups
    jobs = [one.post({}, secret="planted") for _ in range(8)]
    found = [two.final(job) for job in jobs]
    assert {job["state"] for job in found} == {"finished"}
    assert {job["output"]["pid"] for job in found} <= {one.runner().pid, two.runner().pid}
    assert {job["output"]["secret"] for job in found} == {7}
    metrics = [group.metrics() for group in groups]
    ended = 'pathserve_jobs_ended_total{kind="test.work",state="finished"}'
    assert sum(each.get(ended, 0) for each in metrics) == 8
    assert [each['pathserve_jobs{state="finished"}'] for each in metrics] == [8, 8]
    assert metrics[0]['pathserve_webhook_requests_total{route="test.post",status="200"}'] == 8


def test_each_group_describes_itself(groups: Groups) -> None:
    one, _ = groups
    document = one.session.get(f"{one.url}/openapi.json", timeout=10).json()
    assert {"/health", "/metrics"} <= set(document["paths"])
    assert "/health" in one.session.get(f"{one.url}/docs", timeout=10).text
    health = one.session.get(f"{one.url}/health", timeout=10).json()
    assert health["status"] == "ok"


def test_a_body_that_is_too_large_or_a_path_that_is_not_there_is_refused_as_by_the_service(
    groups: Groups,
) -> None:
    one, _ = groups
    large = one.session.post(f"{one.url}/test/jobs", data=b" " * (MAX_BODY_BYTES + 1), timeout=10)
    unknown = one.session.get(f"{one.url}/nobody", timeout=10)
    assert (large.status_code, large.json()["error"]["code"]) == (413, "REQUEST_TOO_LARGE_ERROR")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "NOT_FOUND_ERROR")
    for answer in (large, unknown):
        assert answer.headers["X-Request-Id"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_job_that_kills_its_runner_is_given_up(groups: Groups) -> None:
    one, two = groups
    job = one.post({"crash": True})
    found = one.final(job)
    assert (found["state"], found["attempt"]) == ("interrupted", 3)
    assert one.final(two.post({}))["state"] == "finished"


def test_a_runner_that_sleeps_through_its_lease_is_not_seen_outside_when_it_wakes(
    groups: Groups, tmp_path: Path
) -> None:
    one, two = groups
    outside, closed, go = tmp_path / "outside", tmp_path / "closed", tmp_path / "go"
    both = {service.runner().pid for service in groups}
    job = one.post({"until": str(go), "file": str(outside), "closed": str(closed)}, secret="planted")
    wait_until(lambda: one.job(job)["progress"] != "", "the job to run")
    sleeper = int(one.job(job)["progress"].removeprefix("by "))
    os.kill(sleeper, signal.SIGSTOP)
    try:
        wait_until(lambda: one.job(job)["attempt"] == 2, "the other runner to take over")
        go.touch()
        assert two.final(job)["output"]["pid"] in both - {sleeper}
    finally:
        os.kill(sleeper, signal.SIGCONT)

    def does_jobs_again() -> bool:
        later = [one.post({"seconds": 0.1}) for _ in range(6)]
        return sleeper in {one.final(each)["output"]["pid"] for each in later}

    wait_until(does_jobs_again, "the sleeper to be awake, and to have noticed")
    assert lines(outside) == [f"did {job}"]
    assert lines(closed) == [f"closed {job}"]


@pytest.mark.timeout(400)
def test_kills_at_random_moments_lose_no_job_and_close_each_once(groups: Groups, tmp_path: Path) -> None:
    closed, chance, jobs = tmp_path / "closed", random.Random(16), 40
    kills = ["runner"] * 5 + ["worker"] * 4 + ["gunicorn"]
    chance.shuffle(kills)
    one, _ = groups
    ids: list[str] = []

    def post_all() -> None:
        """Post to either group; ask again by the same key when the answer is lost with a worker."""
        for number in range(jobs):
            service = groups[number % 2]
            work = {"seconds": chance.uniform(0, 0.5), "closed": str(closed)}
            posted = ""
            while not posted:
                with contextlib.suppress(requests.ConnectionError, requests.Timeout):
                    posted = service.post(work, secret="planted", key=f"post {number}")
            ids.append(posted)

    poster = threading.Thread(target=post_all)
    poster.start()
    pause = threading.Event()
    for kind in kills:
        pause.wait(chance.uniform(0.1, 1.5))
        _kill(chance.choice(groups), kind)
    poster.join(200)
    assert len(set(ids)) == jobs
    found = [one.final(job, 120) for job in ids]
    wait_until(lambda: len(lines(closed)) >= jobs, "all jobs to be closed")
    states = Counter(job["state"] for job in found)
    assert states["finished"] + states["interrupted"] == jobs, states
    assert all(job["attempt"] >= 3 for job in found if job["state"] == "interrupted"), found
    assert states["finished"] > jobs / 2
    assert sorted(lines(closed)) == sorted(f"closed {job}" for job in ids)


def _kill(service: WebhookService, kind: str) -> None:
    """Kill a process of the group as soon as there is one."""
    killed: list[int] = []

    def kill() -> bool:
        with contextlib.suppress(StopIteration, IndexError, psutil.NoSuchProcess):
            process = service.workers()[0] if kind == "worker" else getattr(service, kind)()
            process.kill()
            killed.append(process.pid)
        return bool(killed)

    wait_until(kill, f"a {kind} to kill")


def test_a_killed_runner_is_replaced_and_its_job_done_without_waiting_for_the_lease(
    jobs_database: str, tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    with WebhookService(jobs_database, PATHSERVE_JOBS_LEASE_S="600") as service:
        service.wait_healthy()
        first = service.runner().pid
        job = service.post({"until": str(tmp_path / "go"), "closed": str(closed)}, secret="planted")
        wait_until(lambda: str(first) in service.job(job)["progress"], "the job to run")
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: service.job(job)["attempt"] == 2, "another start")
        (tmp_path / "go").touch()
        found = service.final(job)
        assert (found["state"], found["output"]["pid"] != first, found["output"]["secret"]) == (
            "finished",
            True,
            7,
        )
        wait_until(lambda: lines(closed) == [f"closed {job}"], "the job to be closed")
        wait_until(lambda: service.health() == 200, "health")
        assert service.metrics()["pathserve_runner_restarts_total"] == 1


def test_after_a_restart_jobs_go_on_with_a_key_and_are_said_to_be_interrupted_without(
    jobs_database: str, tmp_path: Path
) -> None:
    for key, state in ((True, "finished"), (False, "interrupted")):
        with WebhookService(jobs_database, key=key) as service:
            service.wait_healthy()
            job = service.post({"until": str(tmp_path / state)}, secret="planted")
            waiting = service.post({"until": str(tmp_path / state)}, secret="planted")
            wait_until(lambda job=job: service.job(job)["state"] == "running", "the job to run")  # type: ignore[misc]
            processes = service.processes()
            for process in processes:  # all of it, as when a machine is lost
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        (tmp_path / state).touch()
        with WebhookService(jobs_database, key=key) as service:
            service.wait_healthy()
            for found in (service.final(job), service.final(waiting)):
                assert found["state"] == state, found
                assert key or "PATHSERVE_JOBS_KEY" in found["error"]


def test_sigterm_drains_and_gives_back_what_does_not_finish(jobs_database: str, tmp_path: Path) -> None:
    with WebhookService(jobs_database, PATHSERVE_GRACE_S="5") as service:
        service.wait_healthy()
        short = service.post({"seconds": 0.5})
        long = service.post({"until": str(tmp_path / "go")}, secret="planted")
        wait_until(lambda: service.job(long)["state"] == "running", "the job to run")
        assert service.stop() == ExitStatus.OK
    (tmp_path / "go").touch()
    with WebhookService(jobs_database) as service:
        service.wait_healthy()
        assert service.final(short)["attempt"] == 1
        assert service.final(long)["state"] == "finished"


def test_a_planted_token_is_found_nowhere(
    jobs_database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    key = jobs_database.startswith("sqlite")  # on the other without
    token, go = "planted-token-5f1c0a", tmp_path / "go"
    with WebhookService(jobs_database, key=key, PATHSERVE_LOG_LEVEL="DEBUG") as service:
        service.wait_healthy()
        running, waiting, cancelled = (service.post({"until": str(go)}, secret=token) for _ in range(3))
        crashed = service.post({"crash": True}, secret=token)
        service.session.delete(f"{service.url}/test/jobs/{cancelled}", timeout=10)
        malformed = f'{{"secret": "{token}", "work"'
        answers = [service.session.post(f"{service.url}/test/jobs", data=malformed, timeout=10).text]
        answers += [service.session.get(f"{service.url}/{token}", timeout=10).text]
        wait_until(lambda: service.job(running)["state"] == "running", "the job to run")
        small_files = Path(service.runner().environ()["TMPDIR"])
        found = _files(tmp_path, small_files) + _of_postgres(jobs_database, request)
        go.touch()
        answers += [str(service.final(job)) for job in (running, waiting, cancelled, crashed)]
        answers += [
            service.session.get(f"{service.url}/{page}", timeout=10).text for page in ("metrics", "docs")
        ]
        found += _files(tmp_path, small_files) + _of_postgres(jobs_database, request)
        found += [answer.encode() for answer in [*answers, service.log()]]
        for process in service.processes():
            assert token not in str(process.environ()) + str(process.cmdline())
    assert any(crashed.encode() in data for data in found), "what is searched is what is used"
    assert [data[:200] for data in found if token.encode() in data] == []


def _files(*folders: Path) -> list[bytes]:
    return [path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()]


def _of_postgres(address: str, request: pytest.FixtureRequest) -> list[bytes]:
    """Return all files of the server, its log with each statement's values among them."""
    if address.startswith("sqlite"):
        return []
    return _files(request.getfixturevalue("postgres").folder)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"PATHSERVE_JOBS_KEY": "not a key of 32 bytes"},
            "PATHSERVE_JOBS_KEY: each key must be 32 random bytes",
        ),
        (
            {"PATHSERVE_JOBS_DATABASE": "mysql://user:planted-password@h/d"},
            "PATHSERVE_JOBS_DATABASE: it must be",
        ),
        ({"PATHSERVE_JOBS_DATABASE": "sqlite:////proc/no/such.sqlite"}, "cannot be written"),
        (
            {"PATHSERVE_JOBS_DATABASE": "postgresql+psycopg://u:planted-password@127.0.0.1:9/d"},
            "cannot be used",
        ),
        ({"PATHSERVE_SERVICE_URL": "ftp://somewhere"}, "PATHSERVE_SERVICE_URL"),
    ],
)
def test_what_cannot_be_used_stops_the_start_with_a_sentence(
    tmp_path: Path, settings: dict[str, str], sentence: str
) -> None:
    usual = {
        "PATHSERVE_WEBHOOKS_PORT": "0",
        "PATHSERVE_JOBS_DATABASE": f"sqlite:///{tmp_path}/jobs.sqlite",
        "PATHSERVE_SERVICE_URL": "http://127.0.0.1:9",
    }
    with Service(usual | settings, command=(sys.executable, "-m", "serving", "webhooks")) as service:
        assert service.process.wait(60) == ExitStatus.MISCONFIGURED
        assert sentence in service.log()
        assert "planted-password" not in service.log()
