"""The slide store as a user starts it: roles, shares, mapping, and what its logs may hold."""

from __future__ import annotations

import json
import re
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.store.access.roles import Role
from tests.support.service import wait_until
from tests.support.slides import Slide
from tests.support.store_service import STOW, StoreService, multipart, shareable


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreService]:
    with StoreService(tmp_path_factory.mktemp("slides") / "store") as store:
        yield store.wait_healthy()


@pytest.fixture(scope="module")
def slides() -> list[Slide]:
    return [shareable(), shareable()]


@pytest.fixture(scope="module")
def uids(store: StoreService, slides: list[Slide]) -> list[dict[str, str]]:
    return [store.store(slide)[0] for slide in slides]


def where(uids: dict[str, str]) -> str:
    return f"/dicomweb/studies/{uids['study']}"


def test_a_slide_comes_in_is_found_and_read(store: StoreService, uids: list[dict[str, str]]) -> None:
    found = store.ask("GET", "/dicomweb/studies").json()
    assert {row["0020000D"]["Value"][0] for row in found} == {one["study"] for one in uids}
    path = f"{where(uids[0])}/series/{uids[0]['series']}/instances/{uids[0]['instance']}"
    frames = store.ask(
        "GET", f"{path}/frames/1,2", headers={"Accept": "multipart/related; transfer-syntax=*"}
    )
    assert frames.status_code == 200
    whole = store.ask("GET", path)
    assert whole.status_code == 200
    assert len(whole.content) > 10_000


def test_a_share_opens_its_study_alone_until_it_is_revoked(
    store: StoreService, uids: list[dict[str, str]]
) -> None:
    mine, other = uids
    made = store.ask("POST", "/shares", json={"studies": [mine["study"]], "name": "a guest", "days": 1})
    assert made.status_code == 201
    token, share_id = made.json()["token"], made.json()["id"]
    assert store.ask("GET", f"{where(mine)}/metadata", token).status_code == 200
    assert store.ask("GET", f"{where(other)}/metadata", token).status_code == 404
    found = store.ask("GET", "/dicomweb/studies", token).json()
    assert [row["0020000D"]["Value"][0] for row in found] == [mine["study"]]
    assert store.ask("DELETE", where(mine), token).status_code == 403
    assert (
        store.ask("POST", "/shares", token, json={"studies": [mine["study"]], "days": 1}).status_code == 403
    )
    assert store.ask("DELETE", f"/shares/{share_id}").status_code == 204
    assert store.ask("GET", f"{where(mine)}/metadata", token).status_code == 401


def test_a_share_of_the_command_ends_when_its_time_is_over(
    store: StoreService, uids: list[dict[str, str]]
) -> None:
    token = store.made("share", uids[0]["study"], "--days", "0.0000001")
    assert store.ask("GET", f"{where(uids[0])}/metadata", token).status_code == 401
    refused = store.command("share", "2.25.1")
    assert refused.returncode == 1
    assert "There is no study 2.25.1" in refused.stderr


def test_who_shares_gives_no_more_than_they_have(store: StoreService, uids: list[dict[str, str]]) -> None:
    mine, other = (one["study"] for one in uids)
    token = store.token_of(Role.SHARE, studies=[mine])
    assert store.ask("POST", "/shares", token, json={"studies": [mine], "days": 1}).status_code == 201
    assert store.ask("POST", "/shares", token, json={"studies": [mine, other], "days": 1}).status_code == 404
    shown = store.ask("GET", "/shares", token).json()["shares"]
    assert [row["studies"] for row in shown] == [[mine]]
    assert len(store.ask("GET", "/shares").json()["shares"]) > 1


def test_a_token_that_is_revoked_ends_with_the_shares_that_it_made(
    store: StoreService, uids: list[dict[str, str]]
) -> None:
    token = store.token_of(Role.SHARE)
    share = store.ask("POST", "/shares", token, json={"studies": [uids[0]["study"]], "days": 1}).json()
    assert store.command("token", "revoke", share["made_by"]).returncode == 0
    assert store.command("token", "revoke", share["made_by"]).returncode == 1
    assert store.ask("GET", "/shares", token).status_code == 401
    assert store.ask("GET", f"{where(uids[0])}/metadata", share["token"]).status_code == 401


def test_only_who_may_write_stores_and_who_only_writes_reads_nothing(
    store: StoreService, uids: list[dict[str, str]]
) -> None:
    body = multipart(shareable().instances[0].file())
    reader, writer = (store.token_of(role) for role in (Role.READ, Role.WRITE))
    assert store.ask("POST", "/dicomweb/studies", reader, data=body, headers=STOW).status_code == 403
    assert store.ask("POST", "/dicomweb/studies", None, data=body, headers=STOW).status_code == 401
    stored = store.ask("POST", "/dicomweb/studies", writer, data=body, headers=STOW)
    assert stored.status_code in (200, 202)
    for path in ("/dicomweb/studies", f"{where(uids[0])}/metadata", "/shares", "/metrics"):
        assert store.ask("GET", path, writer).status_code == 403


def test_the_mapping_is_for_administrators_and_leads_back_to_the_original(
    store: StoreService, slides: list[Slide], uids: list[dict[str, str]]
) -> None:
    asked = {"pseudonyms": [uids[0]["study"], "2.25.404"]}
    for role in (Role.READ, Role.WRITE, Role.SHARE):
        token = store.token_of(role)
        assert store.ask("POST", "/mapping", token, json=asked).status_code == 403
    told = store.ask("POST", "/mapping", json=asked).json()["mapping"]
    assert told == {uids[0]["study"]: {"uid": slides[0].study}, "2.25.404": {}}
    printed = store.command("mapping", uids[0]["study"]).stdout.splitlines()
    assert printed == ["pseudonym,kind,original", f"{uids[0]['study']},uid,{slides[0].study}"]
    for name in ("deid.key", "mapping.sqlite", "tokens.sqlite"):
        assert stat.S_IMODE((store.folder / name).stat().st_mode) == 0o600


def test_no_token_and_no_original_uid_is_in_any_log_or_audit_row(
    store: StoreService, slides: list[Slide], uids: list[dict[str, str]]
) -> None:
    """All tokens that this module has made, and one in the wrong place, are looked for everywhere."""
    planted = store.made("token", "add", "planted", "--role", "read")
    store.ask("GET", f"/dicomweb/studies?token={planted}", None)
    store.ask("GET", f"/dicomweb/studies/{planted}", planted)
    store.ask("GET", f"/dicomweb/studies/{slides[0].study}/metadata")
    store.session.get(store.url, headers={"Authorization": f"Basic {planted}"}, timeout=30)
    trail = "".join(path.read_text() for path in (store.folder / "audit").glob("*.jsonl"))
    files = [path for path in store.folder.rglob("*") if path.is_file() and path.name != "mapping.sqlite"]
    everything = [path.read_bytes() for path in files if not path.name.startswith("mapping.sqlite")]
    for secret in (planted, store.token):
        assert secret not in store.log() + trail
        assert not [data for data in everything if secret.encode() in data]
    for slide in slides:
        assert slide.study not in store.log() + trail
        assert not [data for data in everything if slide.study.encode() in data]
    assert "pss_" not in store.log() + trail


def test_the_trail_says_who_did_what_and_is_queried_by_a_command(
    store: StoreService, uids: list[dict[str, str]]
) -> None:
    token = store.made("token", "add", "audited", "--role", "read")
    store.ask("GET", f"{where(uids[0])}/metadata", token)
    listed = [json.loads(line) for line in store.command("token", "list").stdout.splitlines()]
    who = next(row["id"] for row in listed if row["name"] == "audited")
    run = store.command("audit", "--who", who)
    (row,) = [json.loads(line) for line in run.stdout.splitlines()]
    assert (row["event"], row["outcome"], row["uids"]) == ("110103", "success", [uids[0]["study"]])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", row["time"])
    imports = store.command("audit", "--event", "110107", "--uid", uids[1]["instance"]).stdout
    assert json.loads(imports.splitlines()[0])["door"] == "stow"
    assert store.command("audit", "--event", "1").returncode == 1
    assert store.command("audit", "--since", "tomorrow").returncode == 1
    assert store.command("audit", "--since", "2999-01-01").stdout == ""


def test_a_study_is_exported_and_deleted(store: StoreService, tmp_path: Path) -> None:
    study = store.store(shareable(sizes=((300, 200), (150, 100))))[0]["study"]
    target = tmp_path / "out"
    assert store.command("export", str(target), study).returncode == 0
    names = {path.name for path in target.rglob("*") if path.is_file()}
    assert len(names) == 3
    assert "SHA256SUMS" in names
    assert store.command("export", str(target), study).returncode == 1
    assert store.command("export", str(tmp_path / "out.zip"), study).returncode == 0
    assert store.command("delete", study).stdout == "2 instances deleted\n"
    assert store.command("delete", study).returncode == 1
    assert store.ask("GET", f"/dicomweb/studies/{study}/metadata").status_code == 404
    assert not (store.folder / "instances" / study).exists()


def test_a_page_of_an_allowed_origin_may_ask_and_no_other(tmp_path: Path) -> None:
    origins = "https://viewer.example.org, http://localhost:3000"
    with StoreService(tmp_path / "store", PATHSERVE_STORE_CORS_ORIGINS=origins) as store:
        store.wait_healthy()
        for origin, allowed in (
            ("https://viewer.example.org", True),
            ("https://viewer.example.org.evil.org", False),
            ("http://viewer.example.org", False),
            ("null", False),
        ):
            headers = {"Origin": origin, "Access-Control-Request-Method": "GET"}
            asked = store.ask("OPTIONS", "/dicomweb/studies", None, headers=headers)
            assert asked.status_code == 200
            answered = store.ask("GET", "/dicomweb/studies", headers={"Origin": origin})
            for answer in (asked, answered):
                given = answer.headers.get("Access-Control-Allow-Origin")
                assert given == (origin if allowed else None)


def test_an_upload_that_has_begun_is_finished_when_the_store_is_asked_to_stop(tmp_path: Path) -> None:
    whole = multipart(shareable(sizes=((2000, 1500),)).instances[0].file())

    def body(store: StoreService) -> Iterator[bytes]:
        yield whole[: len(whole) // 2]
        store.launcher().send_signal(signal.SIGTERM)
        wait_until(lambda: '"draining"' in store.log(), "the drain", 60)
        yield whole[len(whole) // 2 :]

    with StoreService(tmp_path / "store") as store:
        store.wait_healthy()
        answer = store.ask("POST", "/dicomweb/studies", data=body(store), headers=STOW)
        assert answer.status_code == 202
        assert store.process.wait(60) == 0
    assert len(list((tmp_path / "store" / "instances").rglob("*.dcm"))) == 1


def test_a_store_without_its_key_does_not_start(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with StoreService(folder) as store:
        store.wait_healthy().store(shareable())
    (folder / "deid.key").unlink()
    with StoreService(folder) as store:
        assert store.process.wait(60) == 78
        assert "deid.key is missing" in store.log()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"PATHSERVE_STORE_CORS_ORIGINS": "*"}, "PATHSERVE_STORE_CORS_ORIGINS"),
        ({"PATHSERVE_STORE_DIMSE_PORT": "0"}, "PATHSERVE_STORE_AE_PEERS"),
        ({"PATHSERVE_STORE_DATABASE": "mysql://x"}, "PATHSERVE_STORE_DATABASE"),
    ],
    ids=["an origin that is none", "a node for nobody", "a database that is not known"],
)
def test_what_cannot_work_stops_the_start_and_is_said(
    tmp_path: Path, settings: dict[str, str], said: str
) -> None:
    with StoreService(tmp_path / "store", **settings) as store:
        assert store.process.wait(60) == 78
        assert said in store.log()
