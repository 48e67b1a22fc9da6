"""What is kept of other projects is what their releases hold, with their licences."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LISTS = ("serving/view/static/vendor/vendor.json", "tests/support/vendor/vendor.json")


@pytest.mark.parametrize("name", LISTS)
def test_vendored_files_have_the_hashes_that_were_written_down(name: str) -> None:
    listed = ROOT / name
    packages = json.loads(listed.read_text(encoding="utf-8"))
    known = {listed.name}
    for package in packages.values():
        assert package["integrity"].startswith("sha512-")
        for file, entry in package["files"].items():
            content = (listed.parent / file).read_bytes()
            assert hashlib.sha256(content).hexdigest() == entry["sha256"], file
            known.add(file)
        assert any("LICENSE" in file for file in package["files"])
    assert {path.name for path in listed.parent.iterdir()} == known, "nothing else is kept there"


def test_the_page_loads_nothing_but_its_own_files() -> None:
    """No script from elsewhere, no HTML made of text, no script or style in the page itself."""
    static = ROOT / "serving/view/static"
    page = (static / "index.html").read_text(encoding="utf-8")
    assert "://" not in page.replace("https://…", "")
    assert "style=" not in page
    for path in static.glob("js/*.js"):
        text = path.read_text(encoding="utf-8")
        for word in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "eval(",
            "localStorage",
            "sessionStorage",
        ):
            assert word not in text, path
        assert "document.cookie" not in text
        assert len(text.splitlines()) < 300, path
