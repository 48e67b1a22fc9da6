"""Sessions send the credentials they were given, whatever is in the environment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.auth.credentials import AnonymousCredentials
from google.oauth2.credentials import Credentials

from dicom_io.web.google_session import google_session
from dicom_io.web.sessions import plain_session
from tests.support.loopback import Handler, Loopback


@pytest.fixture
def seen() -> list[tuple[str, str | None]]:
    """Path and Authorization of each request."""
    return []


@pytest.fixture
def origin(
    seen: list[tuple[str, str | None]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    (tmp_path / "netrc").write_text("default login planted password planted\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    class Recorder(Handler):
        def respond(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            seen.append((self.path, self.headers.get("Authorization")))
            where = server.origin.replace("127.0.0.1", "localhost")
            if self.path == "/away":
                self.answer(302, [("Location", f"{where}/there")], b"")
            else:
                self.answer(200, [], json.dumps({"access_token": "fresh", "expires_in": 3600}).encode())

    server = Loopback(Recorder)
    yield server.origin
    server.end()


def test_netrc_adds_nothing_also_after_a_redirect(origin: str, seen: list[tuple[str, str | None]]) -> None:
    with plain_session(follows_proxies=False) as session:
        session.get(f"{origin}/away", timeout=10)
    with google_session(AnonymousCredentials(), follows_proxies=False) as session:
        session.get(f"{origin}/away", timeout=10)
    assert seen == [("/away", None), ("/there", None)] * 2


def test_netrc_replaces_no_token_also_not_where_that_is_fetched(
    origin: str, seen: list[tuple[str, str | None]]
) -> None:
    with google_session(Credentials("given"), follows_proxies=False) as session:
        session.get(f"{origin}/away", timeout=10)
    assert seen == [("/away", "Bearer given"), ("/there", None)]
    seen.clear()
    own = Credentials(None, refresh_token="r", token_uri=f"{origin}/token", client_id="c", client_secret="s")
    with google_session(own, follows_proxies=False) as session:
        session.get(f"{origin}/object", timeout=10)
    assert seen == [("/token", None), ("/object", "Bearer fresh")]


def test_trust_anchors_of_the_environment_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/anchors.pem")
    with plain_session(follows_proxies=False) as session:
        found = session.merge_environment_settings("https://host/", {}, False, None, None)
        assert found["verify"] == "/anchors.pem"
        found = session.merge_environment_settings("https://host/", {}, False, False, None)
        assert found["verify"] is False
