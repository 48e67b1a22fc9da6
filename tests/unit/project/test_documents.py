"""The documents say what the code says, and lead where they say they lead."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from serving.config.group import variable_of
from serving.config.settings import variables
from serving.errors import TABLE

ROOT = Path(__file__).parents[3]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


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


def anchors(page: Path) -> set[str]:
    """Return what GitHub calls a page's headings: in lower case, hyphens for spaces, no punctuation."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("row", setting_rows())
def test_every_setting_is_listed_with_its_default(row: str) -> None:
    assert row in text("docs/operations.md")


@pytest.mark.parametrize("row", error_rows())
def test_every_error_code_is_listed(row: str) -> None:
    assert row in text("docs/api.md")


def test_every_make_target_that_has_a_help_text_is_listed() -> None:
    targets = re.findall(r"^([a-z-]+):.*## ", text("Makefile"), re.MULTILINE)
    assert len(targets) > 10
    assert [t for t in targets if f"`make {t}`" not in text("CONTRIBUTING.md")] == []


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: page.name)
def test_every_link_within_the_repository_leads_somewhere(page: Path) -> None:
    for path, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        target = (page.parent / path) if path else page
        assert target.exists(), f"{page.name}: {path}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {path}#{anchor}"


def test_the_newest_release_of_the_changelog_is_the_version() -> None:
    releases = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", text("CHANGELOG.md"), re.MULTILINE)
    assert releases[0] == tomllib.loads(text("pyproject.toml"))["project"]["version"]
