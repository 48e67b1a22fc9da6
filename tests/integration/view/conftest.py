"""A browser, and the service's application with slides for the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.app import App, ServedApp
from tests.support.browser import Chromium, ViewPage
from tests.support.view import patterned, write_slide

COLUMNS, ROWS = 16, 12


@pytest.fixture(scope="session")
def slide_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one slide of COLUMNS x ROWS patches, all of them tissue."""
    folder = tmp_path_factory.mktemp("slides")
    write_slide(folder / "tissue.svs", patterned(COLUMNS, ROWS))
    return folder


@pytest.fixture(scope="module")
def view_app(slide_folder: Path) -> Iterator[ServedApp]:
    """The application with the page and that folder."""
    settings: dict[str, object] = {"PATHSERVE_VIEW": "1", "PATHSERVE_VIEW_FOLDER": str(slide_folder)}
    with App(settings) as app, ServedApp(app) as served:
        yield served


@pytest.fixture
def view(chromium: Chromium, view_app: ServedApp) -> Iterator[ViewPage]:
    """The page, freshly opened; whatever it complains of in its console fails the test."""
    page = chromium.open(f"{view_app.url}/view")
    yield page
    page.close()
    assert page.seen.complaints == []
