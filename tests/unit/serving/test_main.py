"""The command's exit status where its settings are wrong, before anything is started or imported."""

from __future__ import annotations

import os

import pytest

from serving.__main__ import main
from tests.support.commands import own_logging


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("PATHSERVE_", "AIP_")):
            monkeypatch.delenv(name)


@pytest.mark.parametrize("command", [["serve"], ["check"], ["embed", "slide.png", "--out", "out.parquet"]])
@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("PATHSERVE_WORKER", "2", "PATHSERVE_WORKER is not a setting; did you mean PATHSERVE_WORKERS?\n"),
        ("PATHSERVE_WORKERS", "many", "bad setting: PATHSERVE_WORKERS: Input should be a valid integer"),
    ],
)
def test_every_command_stops_at_a_wrong_setting_with_its_name(
    command: list[str],
    name: str,
    value: str,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(name, value)
    assert main(command) == 78
    assert capsys.readouterr().err.startswith(f"pathserve: {sentence}")


def test_check_names_a_setting_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("APPROVED_GCS_SOURCE_LIST", "s3://bucket")
    monkeypatch.setenv("PATHSERVE_STORE_TOKEN", "planted-secret-0123")
    with own_logging():
        assert main(["check"]) == 78
    shown = capsys.readouterr()
    assert "PATHSERVE_STORE_TOKEN = **********" in shown.out
    assert "planted-secret-0123" not in shown.out + shown.err
    assert shown.err.startswith("pathserve: bad setting: APPROVED_GCS_SOURCE_LIST: ")
