"""Origins whose pages may ask the store."""

from __future__ import annotations

import pytest
from flask import Flask

from serving.config.settings import SettingsError
from serving.store.service.cors import Cors


@pytest.mark.parametrize(
    "origin",
    [
        "*", "https://*", "null", "viewer.example.org", "https://", "ftp://x", "https://x/path", "https://x?y",
        "https://me@x", "https://x:port", "https://x#y", "",
    ],
)  # fmt: skip
def test_what_is_no_origin_is_said(origin: str) -> None:
    with pytest.raises(SettingsError, match="PATHSERVE_STORE_CORS_ORIGINS"):
        Cors([origin])


@pytest.mark.parametrize(
    ("configured", "sent"),
    [
        ("https://Viewer.example.org", "https://viewer.example.org"),
        ("https://viewer.example.org:443/", "https://viewer.example.org"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://[::1]:3000", "http://[::1]:3000"),
    ],
)
def test_an_origin_is_known_as_browsers_write_it(configured: str, sent: str) -> None:
    app = Flask("x", static_folder=None)
    app.add_url_rule("/", "x", lambda: "x")
    app.after_request(Cors([configured]).finish)
    answer = app.test_client().get("/", headers={"Origin": sent})
    assert answer.headers["Access-Control-Allow-Origin"] == sent
    assert "Access-Control-Allow-Credentials" not in answer.headers
    other = app.test_client().get("/", headers={"Origin": f"{sent}.evil.org"})
    assert "Access-Control-Allow-Origin" not in other.headers
    assert other.headers["Vary"] == "Origin"
