"""Techcyte from the trigger to what its server has: the door, the job, the slides, the posting."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from serving.webhooks.techcyte.client import RUN_FIELD
from serving.webhooks.techcyte.reports import read_results
from tests.support.local_slides import write_dicom
from tests.support.slides import pyramid
from tests.support.techcyte import HANG_UP, Answer, Behaviour, Request, Techcyte, jwt
from tests.support.techcyte_app import SECRET, Tasks
from tests.support.techcyte_slides import slide_pixels, write_slide

SCAN, OTHER = "8823846", "8823847"


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(tmp_path_factory.mktemp("slides") / "Jane Doe.svs", slide_pixels()[:1344, :1792])


@pytest.fixture(scope="module")
def shared(techcyte_tls: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tasks]:
    """One application for all tests that leave it as it was."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(techcyte_tls[0]))
        with Techcyte(techcyte_tls) as server, Tasks(server, tmp_path_factory.mktemp("app")) as tasks:
            yield tasks


@pytest.fixture
def tasks(shared: Tasks) -> Iterator[Tasks]:
    yield shared
    shared.server.behaviour = Behaviour()


# What is sent


def test_a_task_is_acknowledged_done_and_posted_with_the_mark_of_its_run(tasks: Tasks, slide: Path) -> None:
    body = tasks.server.request({SCAN: [slide]})
    posted = tasks.trigger(body)
    assert (posted.status_code, posted.json()["duplicate"]) == (200, False)
    ended = tasks.ended(posted)
    assert (ended["state"], ended["message"]) == ("finished", "Techcyte has the results."), ended
    (sent,) = tasks.sent(body)
    (scan,) = sent["scanResults"]
    assert scan["scanId"] == SCAN
    assert len(scan["results"][RUN_FIELD]) == 32
    read_results(sent)
    assert list(tasks.slides.glob("pathserve-task-*")) == [], "slides are removed at the end"


@pytest.mark.parametrize("analysis", ["qc", "cluster"])
def test_quality_is_said_where_it_was_measured_and_nowhere_else(
    tasks: Tasks, slide: Path, analysis: str
) -> None:
    body = tasks.server.request({SCAN: [slide]})
    assert tasks.ended(tasks.trigger(body, analysis))["state"] == "finished"
    (scan,) = tasks.sent(body)[0]["scanResults"]
    assert ("qcFailReasons" in scan) == (analysis == "qc")
    assert scan["workflow"]["ruo"] is True


def test_all_scans_of_a_task_are_in_one_post(tasks: Tasks, slide: Path) -> None:
    body = tasks.server.request({SCAN: [slide], OTHER: [slide]})
    before = tasks.server.posts()
    tasks.ended(tasks.trigger(body))
    assert tasks.server.posts() == before + 1
    scans = tasks.sent(body)[0]["scanResults"]
    assert [scan["scanId"] for scan in scans] == [SCAN, OTHER]
    assert len({scan["results"][RUN_FIELD] for scan in scans}) == 1


@pytest.mark.parametrize("api", ["v2", "v3"])
def test_either_version_is_spoken(techcyte: Techcyte, tmp_path: Path, slide: Path, api: str) -> None:
    scan = SCAN if api == "v3" else "T1J4hvqyD4"
    with Tasks(techcyte, tmp_path, {"PATHSERVE_TECHCYTE_API": api}) as tasks:
        assert tasks.run({scan: [slide]})["state"] == "finished"
        named = tasks.trigger(techcyte.request({"T1J4hvqyD4": [slide]}))
        assert named.status_code == (400 if api == "v3" else 200)
        tasks.all_closed()


def test_a_scan_of_several_files_is_read_as_a_whole_and_tasks_at_the_same_time_share_no_file(
    techcyte: Techcyte, tmp_path: Path
) -> None:
    dicom = pyramid("JPEG", sizes=((1792, 1344), (896, 672)))
    files = sorted(write_dicom(tmp_path / "dicom", dicom).iterdir())
    assert len(files) == 2
    with Tasks(techcyte, tmp_path, {"PATHSERVE_TECHCYTE_UM_PER_PX": "5.6"}) as tasks:
        bodies = [techcyte.request({SCAN: files, OTHER: files}) for _ in range(3)]
        with ThreadPoolExecutor(3) as pool:
            ended = list(pool.map(lambda body: tasks.ended(tasks.trigger(body)), bodies))
        assert [one["state"] for one in ended] == ["finished"] * 3, ended
        found = [scan["results"] for body in bodies for scan in tasks.sent(body)[0]["scanResults"]]
    assert len({str({**results, RUN_FIELD: ""}) for results in found}) == 1
    assert len({results[RUN_FIELD] for results in found}) == 3
    fetched = [request.path for request in techcyte.state.requests if request.is_file]
    assert len(fetched) == len(set(fetched)) == 12


# Triggers


def spellings(number: str) -> list[object]:
    text = f"task:{number}".encode()
    padded = base64.b64encode(text).decode()
    return [int(number), number, f" {number} ", padded, padded.rstrip("="), f"00{number}"]


def test_a_task_that_is_triggered_again_in_any_spelling_is_acknowledged_and_not_done_again(
    tasks: Tasks, slide: Path
) -> None:
    body = tasks.server.request({SCAN: [slide]})
    first = tasks.trigger(body)
    number = tasks.server.number_of(body)
    again = [
        tasks.trigger(body | {"task_id": spelled, "jwt_token": jwt()}, analysis)
        for spelled in spellings(number)
        for analysis in ("qc", "cluster")
    ]
    assert {(one.status_code, one.json()["id"], one.json()["duplicate"]) for one in again} == {
        (200, first.json()["id"], True)
    }
    assert tasks.ended(first)["state"] == "finished"
    assert tasks.trigger(body).json() == again[0].json()
    tasks.all_closed()
    assert tasks.server.taken()[number] == 1


def test_all_files_of_a_scan_win_over_the_first_alone(tasks: Tasks, slide: Path) -> None:
    body = tasks.server.request({SCAN: [slide]})
    body["scans"] = {SCAN: f"{tasks.server.origin}/bucket/nothing"}
    assert tasks.ended(tasks.trigger(body))["state"] == "finished"


@pytest.mark.parametrize("changed", [{"scan_urls": ...}, {"scan_urls": None}, {"scan_urls": {SCAN: []}}])
def test_the_first_file_is_taken_where_there_is_no_list(
    tasks: Tasks, slide: Path, changed: dict[str, Any]
) -> None:
    assert tasks.run({SCAN: [slide]}, **changed)["state"] == "finished"


BAD: list[tuple[dict[str, Any], str]] = [
    ({"task_id": ...}, "task_id"),
    ({"task_id": None}, "task_id"),
    ({"task_id": ""}, "task_id"),
    ({"task_id": True}, "task_id"),
    ({"task_id": 0}, "task_id"),
    ({"task_id": -1}, "task_id"),
    ({"task_id": 1.5}, "task_id"),
    ({"task_id": "dGFzazo="}, "task_id"),
    ({"task_id": "../185714"}, "task_id"),
    ({"task_id": "9" * 30}, "task_id"),
    ({"task_id": [185714]}, "task_id"),
    ({"scans": ..., "scan_urls": ...}, "no scans"),
    ({"scans": {}, "scan_urls": {}}, "no scans"),
    ({"scans": None, "scan_urls": {SCAN: []}}, "no scans"),
    ({"scans": [], "scan_urls": ...}, "scans must be an object"),
    ({"scan_urls": {SCAN: "https://bucket.example/a"}}, "scan_urls"),
    ({"scan_urls": {SCAN: [7]}}, "scan_urls"),
    ({"scan_urls": {SCAN: ["ftp://bucket.example/a"]}}, "https"),
    ({"scan_urls": {SCAN: ["https://user:planted@bucket.example/a"]}}, "cannot be used"),
    ({"scan_urls": {SCAN: ["https://bucket.example/a b"]}}, "cannot be used"),
    ({"scan_urls": {SCAN: ["https://bucket.example/a#planted"]}}, "cannot be used"),
    ({"scan_urls": {"": ["https://bucket.example/a"]}}, "scan's id"),
    ({"scan_urls": {"a b": ["https://bucket.example/a"]}}, "scan's id"),
    ({"scan_urls": {"eight": ["https://bucket.example/a"]}}, "not a number"),
    ({"scan_urls": {str(n): ["https://bucket.example/a"] for n in range(101)}}, "at most"),
    ({"jwt_token": ...}, "jwt_token"),
    ({"jwt_token": ""}, "jwt_token"),
    ({"jwt_token": None}, "jwt_token"),
    ({"jwt_token": 7}, "jwt_token"),
    ({"jwt_token": "planted token"}, "jwt_token"),
    ({"jwt_token": "planted\r\nHost: elsewhere"}, "jwt_token"),
    ({"jwt_token": jwt(expires_in_s=-3600)}, "jwt_token"),
]  # fmt: skip


@pytest.mark.parametrize(("changed", "says"), BAD)
def test_a_trigger_that_cannot_become_a_task_is_answered_400_and_nothing_is_asked_for(
    tasks: Tasks, slide: Path, changed: dict[str, Any], says: str
) -> None:
    before, jobs = len(tasks.server.state.requests), len(tasks.engine.rows())
    answer = tasks.trigger(tasks.server.request({SCAN: [slide]}, **changed))
    assert answer.status_code == 400, answer.text
    assert says in answer.json()["error"]["description"]
    assert "planted" not in answer.text
    assert (len(tasks.server.state.requests), len(tasks.engine.rows())) == (before, jobs)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 411), (b"{", 400), (b"[]", 400), (b"null", 400), (b'"text"', 400), (b"\xff\xfe", 400),
        (b'{"task_id": NaN}', 400), (b"[" * 50_000, 400), (b'{"a": 1}' + b" " * (1 << 20), 413),
    ],
)  # fmt: skip
def test_a_body_that_is_none_is_refused(tasks: Tasks, data: bytes, status: int) -> None:
    assert tasks.trigger(data).status_code == status


@pytest.mark.parametrize("secret", ["another-path-of-somebody", SECRET[:-1], SECRET.upper(), "%00", "é"])
def test_who_does_not_know_the_path_is_refused_before_the_body_is_looked_at(
    tasks: Tasks, slide: Path, secret: str
) -> None:
    jobs = len(tasks.engine.rows())
    for body in (tasks.server.request({SCAN: [slide]}), b"{"):
        assert tasks.trigger(body, secret=secret).status_code == 401
    assert len(tasks.engine.rows()) == jobs


@pytest.mark.parametrize("path", ["/techcyte", "/techcyte/qc", f"/techcyte/biopsy/{SECRET}", "/techcyte//x"])
def test_paths_of_no_analysis_are_not_there(tasks: Tasks, path: str) -> None:
    assert tasks.post_to(path, b"{}").status_code in (404, 405)


@pytest.mark.parametrize("job_id", ["0" * 32, "x", "%2e%2e"])
def test_a_task_that_is_not_known_has_no_status(tasks: Tasks, job_id: str) -> None:
    assert tasks.get(f"/techcyte/status/{job_id}").status_code == 404


def test_a_service_without_a_secret_serves_nobody(techcyte: Techcyte, tmp_path: Path, slide: Path) -> None:
    with Tasks(techcyte, tmp_path, {"PATHSERVE_TECHCYTE_SECRET": None}) as tasks:
        for secret in (SECRET, "None", "x"):
            assert tasks.trigger(techcyte.request({SCAN: [slide]}), secret=secret).status_code == 401


def test_a_task_without_a_token_is_done_with_the_companys_key(
    techcyte: Techcyte, tmp_path: Path, slide: Path
) -> None:
    techcyte.keys["key-1"] = "secret-of-key-1"
    key = {"PATHSERVE_TECHCYTE_KEY_ID": "key-1", "PATHSERVE_TECHCYTE_KEY_SECRET": "secret-of-key-1"}
    with Tasks(techcyte, tmp_path, key) as tasks:
        for token in (..., jwt(expires_in_s=-3600)):
            body = techcyte.request({SCAN: [slide]}, jwt_token=token)
            assert tasks.ended(tasks.trigger(body))["state"] == "finished"
            assert len(tasks.sent(body)) == 1


# Slides that are none


def bad_file(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "slide.svs"
    path.write_bytes(content)
    return path


def test_with_one_bad_scan_of_several_nothing_is_sent_and_all_faults_are_listed(
    tasks: Tasks, slide: Path, tmp_path: Path
) -> None:
    body = tasks.server.request({SCAN: [bad_file(tmp_path, b"no slide" * 99)], OTHER: [slide]})
    expired = f"{tasks.server.origin}/bucket/expired?X-Amz-Signature=planted"
    body["scan_urls"]["8823848"] = [expired]
    before = tasks.server.posts()
    ended = tasks.ended(tasks.trigger(body))
    assert ended["state"] == "error"
    faults = ended["output"]["faults"]
    assert [fault.split(":")[0] for fault in faults] == [f"Scan {SCAN}", "Scan 8823848"]
    assert OTHER not in str(ended)
    assert "planted" not in str(ended)
    assert tasks.server.posts() == before
    assert list(tasks.slides.glob("pathserve-task-*")) == []


def test_slides_at_private_addresses_are_not_fetched_unless_a_setting_names_them(
    techcyte: Techcyte, tmp_path: Path, slide: Path
) -> None:
    with Tasks(techcyte, tmp_path, {"PATHSERVE_TECHCYTE_DOWNLOAD_HOSTS": None}) as tasks:
        ended = tasks.run({SCAN: [slide]})
        assert ended["state"] == "error"
        assert techcyte.state.requests == []


def test_a_similar_without_a_reference_says_what_the_operator_sets(tasks: Tasks, slide: Path) -> None:
    ended = tasks.run({SCAN: [slide]}, "similar")
    assert ended["state"] == "error"
    assert "PATHSERVE_TECHCYTE_REFERENCE" in ended["message"]


# Once


def test_results_whose_answer_was_lost_are_one_post(tasks: Tasks, slide: Path) -> None:
    tasks.server.behaviour = Behaviour(after=lambda request: HANG_UP if request.is_post else None)
    body = tasks.server.request({SCAN: [slide]})
    before = tasks.server.posts()
    assert tasks.ended(tasks.trigger(body))["state"] == "finished"
    assert (tasks.server.posts() - before, len(tasks.sent(body))) == (1, 1)


def test_a_stopped_service_leaves_no_half_told_story(techcyte: Techcyte, tmp_path: Path, slide: Path) -> None:
    """It drains while the answer to the post is awaited; the next process asks, and does not post."""
    arrived, go = threading.Event(), threading.Event()

    def hold(request: Request) -> Answer | None:
        if request.is_post:
            arrived.set()
            assert go.wait(120)
        return None

    techcyte.behaviour = Behaviour(after=hold)
    body = techcyte.request({SCAN: [slide]})
    with Tasks(techcyte, tmp_path) as tasks:
        job = tasks.trigger(body).json()["id"]
        assert arrived.wait(60)
    go.set()
    techcyte.behaviour = Behaviour()
    with Tasks(techcyte, tmp_path) as tasks:
        tasks.engine.final(job, 60)
        assert tasks.get(f"/techcyte/status/{job}").json()["state"] == "finished"
        assert (techcyte.posts(), len(tasks.sent(body))) == (1, 1)


# What must be found nowhere


def test_tokens_links_and_names_are_found_nowhere(techcyte: Techcyte, tmp_path: Path, slide: Path) -> None:
    lost = Behaviour(after=lambda request: HANG_UP if request.is_post else None, shows=False)
    techcyte.behaviour = lost
    with Tasks(techcyte, tmp_path) as tasks:
        body = techcyte.request({SCAN: [slide]})
        ended = tasks.ended(tasks.trigger(body))
        assert "parked" in ended["message"]
        expired = techcyte.request({SCAN: [slide]})
        expired["scan_urls"][SCAN] = [expired["scan_urls"][SCAN][0].replace("planted", "plantedX")]
        failed = tasks.ended(tasks.trigger(expired))
        malformed = tasks.trigger(body | {"task_id": {"jwt": body["jwt_token"]}}).text
        files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
        seen = [str(ended), str(failed), malformed, tasks.log(), *(data.decode("latin-1") for data in files)]
    assert any(ended["message"][:40] in text for text in seen[4:]), "what is searched is what is used"
    hidden = [SECRET, "Jane Doe", "X-Amz-Signature", "files_uuid", "planted"]
    for one in (body, expired):
        hidden += [one["jwt_token"], one["jwt_token"].split(".")[2], one["scan_urls"][SCAN][0]]
    for planted in hidden:
        assert not [text[:200] for text in seen if planted in text], planted
