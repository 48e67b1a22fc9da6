"""The page at ``/store``: its files and policy, and what its door tells to whom."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from serving.config.settings import SettingsError, load_settings
from serving.store.access.audit import Event, Result
from serving.store.access.roles import Permission, Role
from serving.store.browse import door
from serving.store.service.browsing import browsed
from tests.support.slide_store import ServedStore
from tests.support.slides import Slide
from tests.support.store_service import shareable

STATIC = Path(door.__file__).parent / "static"

PEERS = """
[archive]
kind = "dicom"
host = "10.0.0.5"
port = 4242
ae_title = "ARCHIVE"

[partner]
kind = "dicomweb"
url = "https://partner.example.org/dicomweb"
user = "reader"
password_file = "{password}"
"""


class Browsing:
    def __init__(self, folder: Path) -> None:
        password = folder / "password"
        password.write_text("only-for-tests")
        peers = folder / "peers.toml"
        peers.write_text(PEERS.format(password=password))
        settings = {
            "PATHSERVE_STORE_PEERS_FILE": str(peers),
            "PATHSERVE_STORE_VIEW_URL": "https://embed.example.org/view",
        }
        self.store = ServedStore(folder / "store", settings)
        self.slide: Slide = shareable(sizes=((700, 500), (350, 250)))
        self.store.add_slide(self.slide)
        self.root = self.store.url.removesuffix("/dicomweb")

    def get(self, path: str, token: str | None = None) -> requests.Response:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return requests.get(f"{self.root}{path}", headers=headers, timeout=60)

    def json(self, path: str, role: Role = Role.ADMIN) -> dict[str, Any]:
        answer = self.get(path, self.store.token(role=role))
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def attributes(self, number: int = 0) -> str:
        return f"/store/attributes/{self.slide.study}/{self.slide.series}/{self.slide.instances[number].uid}"


@pytest.fixture(scope="module")
def browsing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browsing]:
    browsing = Browsing(tmp_path_factory.mktemp("browse"))
    with browsing.store:
        yield browsing


def test_the_page_and_all_that_it_loads_come_from_the_store_under_a_strict_policy(browsing: Browsing) -> None:
    page = browsing.get("/store")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    loaded = re.findall(r'(?:src|href)="([^"#]+)"', page.text)
    assert len(loaded) == 3
    for path in loaded:
        assert not path.startswith(("http", "/"))  # below whatever address the store is published at
        assert browsing.get(f"/{path}").status_code == 200
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert not re.search(r"<script(?! type=\"module\" src)|\sstyle=|\son\w+=", page.text)


def test_each_module_is_there_with_its_policy_and_is_not_sent_twice(browsing: Browsing) -> None:
    names = [path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*.js")]
    assert len(names) > 5
    for name in names:
        answer = browsing.get(f"/store/static/{name}")
        assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert "Content-Security-Policy" in answer.headers
        for imported in re.findall(r'from "\./([^"]+)"', answer.text):
            assert f"js/{imported}" in names
        again = requests.get(answer.url, headers={"If-None-Match": answer.headers["ETag"]}, timeout=60)
        assert again.status_code == 304


def test_no_module_makes_html_of_text_or_keeps_the_token(browsing: Browsing) -> None:
    for path in STATIC.rglob("*.js"):
        text = path.read_text(encoding="utf-8")
        for word in ("innerHTML", "insertAdjacentHTML", "document.write", "eval(", "Storage.", "cookie"):
            assert word not in text, (path.name, word)


@pytest.mark.parametrize(
    "name", ["../door.py", "..%2fdoor.py", "js", "js/none.js", "%2e%2e/door.py", "index.html/"]
)
def test_nothing_but_the_pages_files_is_given_out(browsing: Browsing, name: str) -> None:
    assert browsing.get(f"/store/static/{name}").status_code == 404


def test_the_page_is_told_what_its_token_allows_and_where_slides_are_seen(browsing: Browsing) -> None:
    me = browsing.json("/store/me", Role.SHARE)
    assert me == {"roles": ["read", "share"], "dicomweb": "", "view": "https://embed.example.org/view"}
    assert browsing.get("/store/me").status_code == 401
    assert browsing.get("/store/me", "pss_unknown").status_code == 401


def test_all_attributes_of_an_instance_are_rows(browsing: Browsing) -> None:
    found = browsing.json(browsing.attributes(), Role.READ)
    texts = {row["name"]: row["text"] for row in found["rows"]}
    assert texts["Modality"] == "SM"
    assert texts["Total Pixel Matrix Columns"] == "700"
    assert found["is_cut"] is False
    assert found["size"] == len(browsing.slide.instances[0].file())
    assert found["origin"] == "test"


def test_attributes_are_for_who_may_read_that_study(browsing: Browsing) -> None:
    scoped = browsing.store.token(Permission(frozenset({"2.25.7"})))
    assert browsing.get(browsing.attributes(), scoped).status_code == 404
    assert browsing.get(browsing.attributes()).status_code == 401
    assert browsing.get("/store/attributes/2.25.1/2.25.2/2.25.3", browsing.store.token()).status_code == 404
    assert browsing.get("/store/attributes/x/2.25.2/2.25.3", browsing.store.token()).status_code == 400


def test_administrators_see_how_much_there_is(browsing: Browsing) -> None:
    usage = browsing.json("/store/usage")
    size = sum(len(instance.file()) for instance in browsing.slide.instances)
    assert {name: usage[name] for name in ("studies", "series", "instances", "size")} == {
        "studies": 1, "series": 1, "instances": 2, "size": size,
    }  # fmt: skip
    assert 0 < usage["disk_free"] <= usage["disk_total"]


def test_administrators_see_the_newest_imports_first_and_nothing_else(browsing: Browsing) -> None:
    audit = browsing.store.parts.audit
    audit.write(Event.IMPORT, "watch", (), Result.REFUSED, "it is a label", door="watch")
    audit.write(Event.QUERY, "somebody", (), Result.SUCCESS)
    audit.write(Event.IMPORT, "dimse:A", ("2.25.1", "2.25.2", "2.25.3"), Result.SUCCESS, door="c-store")
    rows = browsing.json("/store/imports")["rows"]
    assert [row["who"] for row in rows[:2]] == ["dimse:A", "watch"]
    assert {row["event"] for row in rows} == {Event.IMPORT}
    assert list(audit.rows())[-1]["event"] == Event.AUDIT_USED


def test_administrators_see_peers_without_what_opens_them(browsing: Browsing) -> None:
    answer = browsing.get("/store/peers", browsing.store.token(role=Role.ADMIN))
    assert answer.json()["peers"] == [
        {"name": "archive", "kind": "dicom", "address": "ARCHIVE@10.0.0.5:4242"},
        {"name": "partner", "kind": "dicomweb", "address": "https://partner.example.org/dicomweb"},
    ]
    assert "only-for-tests" not in answer.text


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "view", "//x/view", "https://a@b/view", "https://a/view#x"]
)
def test_an_address_that_is_no_page_stops_the_start(browsing: Browsing, address: str) -> None:
    given = load_settings({"PATHSERVE_STORE_DIR": "x", "PATHSERVE_STORE_VIEW_URL": address}, {})
    with pytest.raises(SettingsError, match="PATHSERVE_STORE_VIEW_URL"):
        browsed(given, browsing.store.parts)
