from __future__ import annotations

import pytest
from pydantic import ValidationError

from serving.config.settings import SettingsError, load_settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.startswith(("PATHSERVE_", "AIP_")):
            monkeypatch.delenv(name)


def test_defaults_are_vertex_routes_on_loopback() -> None:
    settings = load_settings()
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert (settings.health_route, settings.predict_route) == ("/health", "/predict")
    assert settings.max_patches_per_request == 4000
    assert settings.model_spec == "builtin:vit-s16"


def test_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIP_HTTP_PORT", "7080")
    monkeypatch.setenv("AIP_PREDICT_ROUTE", "/v1/embed")
    monkeypatch.setenv("AIP_STORAGE_URI", "/models/a")
    assert load_settings().port == 7080
    assert load_settings().predict_route == "/v1/embed"
    assert load_settings().model_spec == "/models/a"
    monkeypatch.setenv("PATHSERVE_MODEL", "/models/b")
    assert load_settings().model_spec == "/models/b"


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIP_STORAGE_URI", "")
    monkeypatch.setenv("AIP_HTTP_PORT", "")
    assert load_settings().model_spec == "builtin:vit-s16"
    assert load_settings().port == 8080


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AIP_HTTP_PORT", "eighty"),
        ("AIP_HTTP_PORT", "70000"),
        ("AIP_PREDICT_ROUTE", "predict"),
        ("AIP_HEALTH_ROUTE", "/he<al>th"),
        ("PATHSERVE_PRECISION", "float16"),
        ("PATHSERVE_WORKERS", "0"),
        ("PATHSERVE_THREADS", "2"),
        ("PATHSERVE_MAX_PATCHES_PER_REQUEST", "-1"),
        ("PATHSERVE_REQUEST_TIMEOUT_S", "0"),
        ("PATHSERVE_LOG_LEVEL", "LOUD"),
    ],
)
def test_a_bad_value_is_refused_by_its_variables_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"{name}.*{value}"):
        load_settings()


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        load_settings().port = 1
