"""Who may trigger, and which server tokens may go to."""

from __future__ import annotations

import pytest

from serving.config.settings import SettingsError, load_settings
from serving.webhooks.techcyte.client import ApiKey, api_key
from serving.webhooks.techcyte.server import server_of, transport_of

SECRET = "a-path-that-nobody-knows"


@pytest.mark.parametrize(
    "url",
    [
        "http://api.techcyte.example", "ftp://api.techcyte.example", "api.techcyte.example",
        "https://user@api.techcyte.example", "https://api.techcyte.example?x", "https://169.254.169.254",
        "https://metadata.google.internal", "https://",
    ],
)  # fmt: skip
def test_an_address_that_a_token_must_not_go_to_stops_the_start_by_name(url: str) -> None:
    with pytest.raises(SettingsError, match="PATHSERVE_TECHCYTE_URL"):
        server_of(load_settings({"PATHSERVE_TECHCYTE_URL": url}, {}))


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000", "http://localhost", "https://api.ci.techcyte.com", "https://10.0.0.7/x"]
)
def test_https_is_for_every_server_and_plain_http_for_this_machine(url: str) -> None:
    assert str(transport_of(load_settings({"PATHSERVE_TECHCYTE_URL": url}, {})).server) == url


def test_without_settings_the_server_is_techcytes_own() -> None:
    assert str(server_of(load_settings({}, {}))) == "https://api.app.techcyte.com"


@pytest.mark.parametrize(
    "given",
    [
        {"PATHSERVE_TECHCYTE_SECRET": "short-planted"},
        {"PATHSERVE_TECHCYTE_SECRET": "planted/with+a/slash=="},
        {"PATHSERVE_TECHCYTE_SECRET": "planted-what-is-asked?"},
        {"PATHSERVE_TECHCYTE_SECRET": "planted%2Fis%2Fdecoded"},
        {"PATHSERVE_TECHCYTE_KEY_ID": "key-1"},
        {"PATHSERVE_TECHCYTE_KEY_SECRET": "planted-secret-of-a-key"},
        {"PATHSERVE_TECHCYTE_API": "v1"},
        {"PATHSERVE_TECHCYTE_ASK_S": "-1"},
        {"PATHSERVE_TECHCYTE_TIMEOUT_S": "0"},
    ],
)
def test_settings_that_cannot_be_meant_are_refused_by_name(given: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=next(iter(given))) as caught:
        load_settings(given, {})
    assert "planted" not in str(caught.value)


def test_a_key_is_sent_as_its_id_and_its_secret_and_does_not_print() -> None:
    given = {"PATHSERVE_TECHCYTE_KEY_ID": "key-1", "PATHSERVE_TECHCYTE_KEY_SECRET": "planted"}
    key = api_key(load_settings(given, {}).techcyte)
    assert key == ApiKey("key-1", "planted")
    assert key.basic() == "Basic a2V5LTE6cGxhbnRlZA=="  # RFC 7617, section 2
    assert "planted" not in repr(key)
    assert api_key(load_settings({}, {}).techcyte) is None
