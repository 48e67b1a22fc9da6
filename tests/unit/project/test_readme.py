"""The README's tables say what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.config.group import variable_of
from serving.config.settings import variables
from serving.errors import TABLE

README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")


def setting_rows() -> list[str]:
    rows = []
    for _, name, field in variables():
        default = "by device" if name == "max_batch" else "by cores" if name == "workers" else field.default
        shown = "unset" if default is None else str(default) if "by " in str(default) else f"`{default}`"
        rows.append(f"| `{variable_of(field)}` | {shown} | {field.description} |")
    return rows


def error_rows() -> list[str]:
    rows = []
    for code, row in TABLE.items():
        scopes = ["instance"] if row.in_instance else []
        scopes += [f"request ({row.status.value})"] if row.status else []
        rows.append(f"| `{code}` | {', '.join(scopes)} | {row.meaning} |")
    return rows


@pytest.mark.parametrize("row", setting_rows())
def test_every_setting_is_listed_with_its_default(row: str) -> None:
    assert row in README


@pytest.mark.parametrize("row", error_rows())
def test_every_error_code_is_listed(row: str) -> None:
    assert row in README


def test_every_make_target_is_listed() -> None:
    for target in ("demo", "test", "serve", "check", "bench", "image"):
        assert f"make {target}" in README
