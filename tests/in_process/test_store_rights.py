"""Every route of the store with every role: no route is without a right, and no right is forgotten."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from serving.config.settings import load_settings
from serving.front.application import Course
from serving.front.head import Head
from serving.store.access.audit import Event
from serving.store.access.roles import Permission, Role, with_included
from serving.store.door import Right
from serving.store.service.app import store_application
from serving.store.service.gate import StoreGate
from serving.store.service.parts import Parts, open_ingest, open_parts

NEEDED = {
    "status.health": None,
    "status.metrics": Role.ADMIN,
    "browse.page": None,
    "browse.static": None,
    "browse.me": None,
    "browse.usage": Role.ADMIN,
    "browse.imports": Role.ADMIN,
    "browse.peers": Role.ADMIN,
    "shares.make": Role.SHARE,
    "shares.list": Role.SHARE,
    "shares.revoke": Role.SHARE,
    "mapping.reverse": Role.ADMIN,
    "stow.store": Role.WRITE,
    "stow.store_study": Role.WRITE,
    "dicomweb.delete_study": Role.ADMIN,
    "dicomweb.delete_series": Role.ADMIN,
    "dicomweb.delete_instance": Role.ADMIN,
}
"""What a route needs; all others need to read."""


@dataclass(frozen=True, slots=True)
class Served:
    app: Flask
    gate: StoreGate
    parts: Parts

    @property
    def client(self) -> FlaskClient:
        return self.app.test_client()

    def token(self, *roles: Role, studies: frozenset[str] | None = None) -> str:
        made, _ = self.parts.tokens.make("tests", roles, Permission(studies))
        return f"Bearer {made.get_secret_value()}"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("rights") / "store"
    settings = load_settings({"PATHSERVE_STORE_DIR": str(folder)}, {})
    parts = open_parts(settings)
    ingest = open_ingest(parts, settings)
    application = store_application(settings, parts, ingest)
    assert isinstance(application.wsgi, Flask)
    assert isinstance(application.gate, StoreGate)
    yield Served(application.wsgi, application.gate, parts)
    ingest.close()
    parts.close()


def routes(served: Served) -> list[tuple[str, str, str]]:
    """Return endpoint, method and a path of every route."""
    found = []
    for rule in served.app.url_map.iter_rules():
        path = re.sub(r"<int:[a-z]+>", "1", rule.rule)
        path = re.sub(r"<numbers>", "1", path)
        path = re.sub(r"<(study|series|instance)>", "2.25.1", path)
        path = re.sub(r"<[a-z_]+>", "x", path)
        methods = sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
        found += [(rule.endpoint, method, path) for method in methods]
    return found


def head(method: str, path: str, authorization: str) -> Head:
    headers = (("authorization", authorization), ("content-length", "2"))
    return Head(method, path, "", headers, (1, 1), 2, False, True)


def test_there_are_routes_of_every_kind(served: Served) -> None:
    names = {endpoint for endpoint, _, _ in routes(served)}
    assert set(NEEDED) <= names
    assert len(names) > 25


@pytest.mark.parametrize("role", [None, *Role])
def test_every_route_lets_in_who_has_its_right_and_nobody_else(served: Served, role: Role | None) -> None:
    held = with_included([role] if role else [])
    header = served.token(role) if role else ""
    for endpoint, method, path in routes(served):
        needed = NEEDED.get(endpoint, Role.READ)
        answer = served.client.open(path, method=method, headers={"Authorization": header})
        if endpoint == "browse.me":  # any token will do
            assert answer.status_code == (200 if role else 401), role
        elif needed is None or needed in held:
            assert answer.status_code not in (401, 403), (endpoint, role)
        else:
            assert answer.status_code == (403 if role else 401), (endpoint, role)


@pytest.mark.parametrize("role", [None, *Role])
def test_no_body_is_read_of_who_has_no_right_to_send_it(served: Served, role: Role | None) -> None:
    held = with_included([role] if role else [])
    header = served.token(role) if role else ""
    for endpoint, method, path in routes(served):
        if method != "POST":
            continue
        needed = NEEDED[endpoint]
        assert needed is not None
        if needed in held:
            expected = Course.STREAMED if endpoint.startswith("stow.") else Course.WHOLE
            assert served.gate.course(head(method, path, header)) is expected
        else:
            with pytest.raises(Exception, match=r"_ERROR") as caught:
                served.gate.course(head(method, path, header))
            assert str(caught.value).startswith(("API_KEY_ERROR", "FORBIDDEN_ERROR"))


def test_what_is_out_of_scope_is_not_there_for_any_role_that_reads(served: Served) -> None:
    for role in Role:
        header = served.token(role, studies=frozenset({"2.25.7"}))
        for endpoint, method, path in routes(served):
            needed = NEEDED.get(endpoint, Role.READ)
            answer = served.client.open(path, method=method, headers={"Authorization": header})
            if needed in (Role.WRITE, Role.ADMIN) or (needed is not None and role is Role.WRITE):
                assert answer.status_code == 403, (endpoint, role)
            elif "2.25.1" in path:
                assert answer.status_code == 404, (endpoint, role)


@pytest.mark.parametrize("uid", ["..", "1.2.x", "1" * 65, "%2e%2e", "a b", "1..2"])
def test_what_is_no_uid_is_refused_wherever_a_path_has_one(served: Served, uid: str) -> None:
    header = {"Authorization": served.token(Role.ADMIN)}
    for path in (f"/dicomweb/studies/{uid}/metadata", f"/dicomweb/studies/1.2/series/{uid}"):
        assert served.client.get(path, headers=header).status_code in (400, 404)


def test_what_is_refused_is_in_the_trail_with_who_asked_and_no_uid(served: Served) -> None:
    header = served.token(Role.READ)
    who = served.parts.tokens.all()[-1].id
    served.client.delete("/dicomweb/studies/2.25.1", headers={"Authorization": header})
    served.client.post("/mapping", headers={"Authorization": header})
    served.client.get("/dicomweb/studies/2.25.1/metadata", headers={"Authorization": header})
    rows = list(served.parts.audit.rows())[-3:]
    assert [row["outcome"] for row in rows] == ["refused", "refused", "failed"]
    assert [row["event"] for row in rows] == ["110105", "110113", "110103"]
    assert [row["uids"] for row in rows] == [[], [], []]
    assert rows[2]["who"] == who


def test_an_original_uid_that_is_searched_for_is_not_in_the_trail(served: Served) -> None:
    header = {"Authorization": served.token(Role.ADMIN)}
    for path in ("studies/1.2.3.4.5/series", "studies?StudyInstanceUID=1.2.3.4.5", "studies/1.2.3.4.5"):
        served.client.get(f"/dicomweb/{path}", headers=header)
    trail = b"".join(path.read_bytes() for path in served.parts.audit.files())
    assert b"1.2.3.4.5" not in trail


def test_an_application_with_a_route_without_a_right_is_not_made(served: Served) -> None:
    from flask import Blueprint

    from serving.store.door import StoreDoor
    from serving.store.service.rights import Rights

    routes = Blueprint("open", __name__)
    routes.add_url_rule("/open", "open", lambda: "x")
    app = Flask("x", static_folder=None)
    app.register_blueprint(routes)
    with pytest.raises(AssertionError, match="open"):
        Rights([StoreDoor(routes, {})]).require_complete(app)
    Rights([StoreDoor(routes, {"open": Right(None, Event.QUERY)})]).require_complete(app)
