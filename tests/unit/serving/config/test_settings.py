from __future__ import annotations

import os

import pytest
from pydantic import ValidationError

from serving.config.group import revealed
from serving.config.settings import VARIABLES, SettingsError, load_settings, variables


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("PATHSERVE_", "AIP_")):
            monkeypatch.delenv(name)


def test_defaults_are_vertex_routes_on_loopback() -> None:
    settings = load_settings()
    assert (settings.http.host, settings.http.port) == ("127.0.0.1", 8080)
    assert (settings.http.health_route, settings.http.predict_route) == ("/health", "/predict")
    assert settings.requests.max_patches == 4000
    assert settings.encoder.spec == "builtin:vit-s16"


def test_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIP_HTTP_PORT", "7080")
    monkeypatch.setenv("AIP_PREDICT_ROUTE", "/v1/embed")
    monkeypatch.setenv("AIP_STORAGE_URI", "/models/a")
    assert load_settings().http.port == 7080
    assert load_settings().http.predict_route == "/v1/embed"
    assert load_settings().encoder.spec == "/models/a"
    monkeypatch.setenv("PATHSERVE_MODEL", "/models/b")
    assert load_settings().encoder.spec == "/models/b"


def test_sagemakers_port_wins_and_an_empty_one_does_not() -> None:
    assert load_settings({}, {"AIP_HTTP_PORT": "7080"}).http.listened_port == 7080
    both = {"AIP_HTTP_PORT": "7080", "SAGEMAKER_BIND_TO_PORT": "9090"}
    assert load_settings({}, both).http.listened_port == 9090
    assert load_settings({}, both | {"SAGEMAKER_BIND_TO_PORT": ""}).http.listened_port == 7080


@pytest.mark.parametrize("name", ["pathology", "Path-Foundation_1.2", "a" * 253])
def test_a_models_name_may_stand_in_a_path(name: str) -> None:
    assert load_settings({"PATHSERVE_MODEL_NAME": name}).http.model_name == name


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIP_STORAGE_URI", "")
    monkeypatch.setenv("AIP_HTTP_PORT", "")
    assert load_settings().encoder.spec == "builtin:vit-s16"
    assert load_settings().http.port == 8080


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AIP_HTTP_PORT", "eighty"),
        ("AIP_HTTP_PORT", "70000"),
        ("AIP_PREDICT_ROUTE", "predict"),
        ("AIP_HEALTH_ROUTE", "/he<al>th"),
        ("SAGEMAKER_BIND_TO_PORT", "0"),
        ("PATHSERVE_MODEL_NAME", "a/b"),
        ("PATHSERVE_MODEL_NAME", "two words"),
        ("PATHSERVE_MODEL_NAME", ".."),
        ("PATHSERVE_MODEL_NAME", "model:predict"),
        ("PATHSERVE_MODEL_NAME", "a" * 254),
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
    settings = load_settings()
    with pytest.raises(ValidationError):
        settings.http.port = 1
    with pytest.raises(ValidationError):
        settings.http = settings.http


def test_every_bad_value_of_every_group_is_named_at_once() -> None:
    bad = {"PATHSERVE_WORKERS": "0", "PATHSERVE_PRECISION": "half", "PATHSERVE_STORE_TIMEOUT_S": "soon"}
    with pytest.raises(SettingsError) as caught:
        load_settings(environment=bad)
    assert all(f"{name}: " in str(caught.value) for name in bad)


def test_variables_are_read_in_any_case() -> None:
    assert load_settings(environment={"pathserve_threads": "8"}).http.threads == 8


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("PATHSERVE_WORKER", "; did you mean PATHSERVE_WORKERS?"),
        ("PATHSERVE_API_KEYES", "; did you mean PATHSERVE_API_KEYS?"),
        ("PATHSERVE_HTTP_PORT", "; did you mean AIP_HTTP_PORT?"),
        ("pathserve_max_batches", "; did you mean PATHSERVE_MAX_BATCH?"),
        ("PATHSERVE_PORT", "; did you mean AIP_HTTP_PORT?"),
        ("PATHSERVE_APPROVED_GCS_SOURCE_LIST", "; did you mean APPROVED_GCS_SOURCE_LIST?"),
        ("PATHSERVE_XYZZY", "; `pathserve check` prints all settings."),
        ("PATHSERVE_", "; `pathserve check` prints all settings."),
    ],
)
def test_a_misspelt_variable_is_refused_with_the_nearest_name(name: str, meant: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(environment={name: "1"})
    assert str(caught.value) == f"{name.upper()} is not a setting{meant}"


def test_a_misspelt_variable_is_refused_also_where_it_is_overridden() -> None:
    with pytest.raises(SettingsError, match="PATHSERVE_WORKER is not a setting"):
        load_settings({"PATHSERVE_WORKER": 1}, environment={})


def test_a_clusters_own_variables_are_no_settings() -> None:
    cluster = {
        "PATHSERVE_SERVICE_HOST": "10.0.0.7",
        "PATHSERVE_SERVICE_PORT": "80",
        "PATHSERVE_SERVICE_PORT_HTTP": "80",
        "PATHSERVE_PORT": "tcp://10.0.0.7:80",
        "PATHSERVE_PORT_80_TCP": "tcp://10.0.0.7:80",
        "PATHSERVE_PORT_80_TCP_PROTO": "tcp",
        "PATHSERVE_PORT_80_TCP_PORT": "80",
        "PATHSERVE_PORT_80_TCP_ADDR": "10.0.0.7",
        "PATHSERVE_GPU_SERVICE_HOST": "10.0.0.8",
        "PATHSERVE_GPU_PORT": "tcp://10.0.0.8:80",
        "PATHSERVE_STORE_PORT": "tcp://10.0.0.9:80",
        "PATHSERVE_WEBHOOKS_PORT": "tcp://10.0.0.9:80",
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",
    }
    assert load_settings(environment=cluster) == load_settings(environment={})
    with pytest.raises(SettingsError, match="PATHSERVE_PORT is not a setting"):
        load_settings(environment={"PATHSERVE_PORT": "8080"})


def test_secrets_are_not_shown() -> None:
    names = ("PATHSERVE_API_KEYS", "PATHSERVE_API_KEY", "PATHSERVE_STORE_TOKEN")
    settings = load_settings(environment=dict.fromkeys(names, "planted-secret-0123"))
    assert revealed(settings.command.store_token) == "planted-secret-0123"
    assert "planted-secret-0123" not in f"{settings} {settings!r} {settings.model_dump_json()}"
    with pytest.raises(SettingsError) as caught:
        load_settings(environment={"PATHSERVE_API_KEYS": "planted"})
    assert "PATHSERVE_API_KEYS" in str(caught.value)
    assert "planted" not in str(caught.value)


def test_each_variable_sets_one_field() -> None:
    assert len(VARIABLES) == len(list(variables())) > 30
