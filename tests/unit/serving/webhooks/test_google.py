"""Google's credentials, for an endpoint that embeds."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import requests

from serving.webhooks.service.remote import GoogleAuth
from tests.support.loopback import Handler, Loopback

ASKED: list[bytes] = []


class _Tokens(Handler):
    def respond(self) -> None:
        ASKED.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer(200, [], json.dumps({"access_token": "ya29.planted", "expires_in": 3600}).encode())


def test_requests_are_authorised_by_the_application_default_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "key.pem"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    tokens = Loopback(_Tokens)
    account = {
        "type": "service_account",
        "client_email": "runner@project.iam.gserviceaccount.com",
        "private_key": key.read_text(),
        "private_key_id": "1",
        "token_uri": f"{tokens.origin}/token",
        "project_id": "project",
    }
    path = tmp_path / "account.json"
    path.write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    try:
        auth = GoogleAuth()
        for _ in range(2):
            asked = requests.Request("POST", "https://endpoint/predict", auth=auth).prepare()
            assert asked.headers["Authorization"] == "Bearer ya29.planted"
    finally:
        tokens.end()
    assert len(ASKED) == 1
