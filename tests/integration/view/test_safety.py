"""Secrets stay where they belong, and other sites' pages stay outside."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.app import App, ServedApp
from tests.support.browser import Chromium

KEY = "planted-key-of-the-service"


@pytest.fixture(scope="module")
def locked(slide_folder: Path) -> Iterator[ServedApp]:
    settings: dict[str, object] = {
        "PATHSERVE_VIEW": "1",
        "PATHSERVE_VIEW_FOLDER": str(slide_folder),
        "PATHSERVE_API_KEYS": KEY,
    }
    with App(settings) as app, ServedApp(app) as served:
        yield served


def test_a_key_opens_the_service_and_is_in_no_address_log_storage_or_cache(
    chromium: Chromium, locked: ServedApp, tmp_path: Path
) -> None:
    profile = tmp_path / "profile"
    context = chromium.browser.browser_type.launch_persistent_context(
        str(profile), executable_path=shutil.which("chromium"), args=chromium.arguments
    )
    page, urls = context.new_page(), list[str]()
    page.on("request", lambda request: urls.append(request.url))
    page.goto(f"{locked.url}/view")
    page.wait_for_selector("#fault:not([hidden])")
    assert "wants one of its keys" in page.inner_text("#fault")
    page.fill("#key", KEY)
    page.keyboard.press("Enter")
    page.wait_for_selector("#listed option", state="attached")
    page.click("#open-listed button")
    page.wait_for_selector("#embedding:not([hidden])")
    page.locator(".openseadragon-canvas").first.click()
    page.wait_for_selector("#neighbours button")
    assert not [url for url in urls if KEY in url]
    assert page.evaluate("() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }])") == "[{},{}]"
    assert context.cookies() == []
    context.close()
    assert KEY not in locked.app.log()
    files = [path for path in profile.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []


def test_another_sites_page_gets_nothing(chromium: Chromium, locked: ServedApp) -> None:
    """From ``localhost``, another site than 127.0.0.1: it can neither read answers nor frame the page."""
    page = chromium.browser.new_page()
    page.goto(f"http://localhost:{locked.port}/health")
    said = page.evaluate(
        "(url) => fetch(url, { mode: 'no-cors' }).then((r) => r.type + r.status, (e) => String(e))",
        f"{locked.url}/view/slides",
    )
    assert said in ("opaque0", "TypeError: Failed to fetch")
    page.close()
