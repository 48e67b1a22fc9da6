"""Which servers a token may go to."""

from __future__ import annotations

import pytest

from serving.config.settings import SettingsError, load_settings
from serving.webhooks.slidescore.servers import Servers, allowed_servers, server_of

SECRET = "a-secret-that-is-long"


def settings(origins: str, **more: object) -> dict[str, object]:
    return {"PATHSERVE_SLIDESCORE_ORIGINS": origins, "PATHSERVE_SLIDESCORE_SECRET": SECRET, **more}


@pytest.mark.parametrize(
    "origin",
    [
        "http://slides.example", "ftp://slides.example", "slides.example", "https://user@slides.example",
        "https://slides.example?x", "https://169.254.169.254", "https://metadata.google.internal", "https://",
    ],
)  # fmt: skip
def test_an_address_that_a_token_must_not_go_to_stops_the_start_by_name(origin: str) -> None:
    with pytest.raises(SettingsError, match="PATHSERVE_SLIDESCORE_ORIGINS"):
        allowed_servers(load_settings(settings(origin)))


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8000", "http://localhost", "http://[::1]:80"])
def test_plain_http_is_for_this_machine(origin: str) -> None:
    assert len(allowed_servers(load_settings(settings(origin)))) == 1


def test_plain_http_elsewhere_wants_the_setting_of_stores() -> None:
    configured = load_settings(settings("http://slides.example", PATHSERVE_ALLOW_HTTP_STORES="true"))
    assert len(allowed_servers(configured)) == 1


@pytest.mark.parametrize("secret", [None, "", "short"])
def test_origins_want_a_secret(secret: str | None) -> None:
    given = settings("https://slides.example")
    if secret is None:
        del given["PATHSERVE_SLIDESCORE_SECRET"]
    else:
        given["PATHSERVE_SLIDESCORE_SECRET"] = secret
    with pytest.raises(SettingsError, match="PATHSERVE_SLIDESCORE_SECRET") as caught:
        load_settings(given)
    assert secret is None or secret == "" or secret not in str(caught.value)


@pytest.mark.parametrize("word", ["", "error", "queued", "processing"])
def test_the_word_for_finished_is_none_of_the_others(word: str) -> None:
    with pytest.raises(SettingsError, match="PATHSERVE_SLIDESCORE_FINISHED_WORD"):
        load_settings({"PATHSERVE_SLIDESCORE_FINISHED_WORD": word})


@pytest.mark.parametrize(
    ("host", "is_allowed"),
    [
        ("https://slides.example", True),
        ("https://slides.example/", True),
        ("https://slides.example:443", True),
        ("https://slides.example/prefix", False),
        ("http://slides.example", False),
        ("https://slides.example:8443", False),
        ("https://sub.slides.example", False),
        ("https://slides.example.evil.example", False),
        ("https://slides.example@evil.example", False),
        ("https://other.example/slidescore", True),
        ("https://other.example", False),
        ("https://other.example/slidescore/x", False),
        ("https://other.example/slidescore/../slidescore", False),
        ("x" * 5000, False),
    ],
)
def test_a_host_is_one_of_them_exactly(host: str, is_allowed: bool) -> None:
    origins = "https://slides.example, https://other.example/slidescore"
    allowed = allowed_servers(load_settings(settings(origins)))
    assert (server_of(host, allowed) is not None) == is_allowed


def test_a_server_that_is_not_set_up_any_more_is_not_reached() -> None:
    servers = Servers(load_settings(settings("https://slides.example")))
    assert servers.get("https://slides.example") is not None
    assert servers.get("https://elsewhere.example") is None
