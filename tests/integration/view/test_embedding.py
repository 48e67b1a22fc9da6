"""Embedding from the page: coarse to fine, ended and resumed at any moment, failures shown where they are."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from playwright.sync_api import Request, Route

from tests.support.app import App, ServedApp
from tests.support.browser import Chromium, ViewPage
from tests.support.encoders import CornerEncoder
from tests.support.service import wait_until
from tests.support.view import checkerboard, patterned, write_slide

PATCHES = 40


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedApp]:
    folder = tmp_path_factory.mktemp("board")
    write_slide(folder / "board.svs", checkerboard(PATCHES))
    settings: dict[str, object] = {"PATHSERVE_VIEW": "1", "PATHSERVE_VIEW_FOLDER": str(folder)}
    with App(settings, load=CornerEncoder) as app, ServedApp(app) as served:
        wait_until(lambda: served.health() == 200, "the encoder")
        yield served


def asked(requests: list[Request]) -> list[list[tuple[int, int]]]:
    """Return the patches of each prediction that was asked for."""
    bodies = [json.loads(r.post_data or "{}") for r in requests if r.url.endswith("/predict")]
    return [
        [(p["x_origin"], p["y_origin"]) for i in body["instances"] for p in i["patch_coordinates"]]
        for body in bodies
    ]


class Held:
    """Lets a number of predictions through, and holds the others until they may go on."""

    def __init__(self, page: ViewPage, most: int) -> None:
        self._left, self._waiting, self._is_open = most, list[Route](), threading.Event()
        page.page.route("**/predict", self._handle)

    def _handle(self, route: Route) -> None:
        if self._left or self._is_open.is_set():
            self._left = max(0, self._left - 1)
            route.continue_()
        else:
            self._waiting.append(route)

    def let_through(self, most: int) -> None:
        """Let some of those that wait go on; what the page has given up meanwhile does not count."""
        waiting, self._waiting = self._waiting, []
        live = [route for route in waiting if route.request.failure is None]
        for route in live[:most]:
            route.continue_()
        self._waiting, self._left = live[most:], max(0, most - len(live))

    def release(self) -> None:
        self._is_open.set()
        self.let_through(1_000_000)


def embedded(page: ViewPage) -> int:
    return int(page.run("return session.slides[0].vectors.done"))


def test_the_whole_map_is_there_before_a_tenth_is_embedded_and_the_bar_ends_full(
    chromium: Chromium, board: ServedApp
) -> None:
    page = chromium.open(f"{board.url}/view")
    held = Held(page, 0)
    page.open_listed()
    page.page.uncheck("#only-tissue")
    page.wait(
        lambda: page.run("return session.places[0].embedding.total") == PATCHES * PATCHES, "all patches"
    )
    held.let_through(2)
    page.wait(lambda: embedded(page) == 128, "the first two requests")
    total = PATCHES * PATCHES
    assert embedded(page) <= total / 10
    # One that is embedded: another would be asked for first, and that is held.
    page.click_patch(18, 18)
    page.wait(lambda: page.run("return session.values !== null"), "the map")
    opacity = page.run(
        "const { data } = session.picture(0).getContext('2d').getImageData(0, 0, 40, 40);"
        "return Array.from({ length: 1600 }, (_, i) => data[i * 4 + 3])"
    )
    assert min(opacity) > 0, "every patch is coloured by the nearest one that is embedded"
    page.picture("coarse")
    held.release()
    page.wait_embedded()
    page.wait(lambda: page.text("#progress-text") == "1,600 of 1,600 patches, done", "the end of the bar")
    progress = page.page.locator("#progress")
    assert progress.get_attribute("value") == progress.get_attribute("max") == "1600"
    asked_for = [patch for patches in asked(page.seen.requests) for patch in patches]
    assert len(set(asked_for)) == total
    assert all(len(patches) <= 64 for patches in asked(page.seen.requests))
    assert page.seen.complaints == []
    page.close()


def test_after_a_cancel_nothing_is_asked_for_and_resuming_repeats_nothing(
    chromium: Chromium, board: ServedApp
) -> None:
    page = chromium.open(f"{board.url}/view")
    held = Held(page, 4)
    page.open_listed()
    page.wait(lambda: embedded(page) == 256, "four requests")
    page.page.click("#cancel")
    page.wait(lambda: page.text("#embed") == "Resume", "the end")
    before = len(asked(page.seen.requests))
    held.release()
    page.page.wait_for_timeout(1200)  # what is promised is that none comes in this time
    assert len(asked(page.seen.requests)) == before
    done = {
        (x, y)
        for x, y in page.run(
            "const { grid, vectors } = session.slides[0];"
            "return [...vectors.has].flatMap((has, i) => has ? [[grid.origin(i).x, grid.origin(i).y]] : []);"
        )
    }
    assert len(done) >= 256
    page.page.click("#embed")
    page.wait_embedded()
    resumed = [patch for patches in asked(page.seen.requests)[before:] for patch in patches]
    assert not done & set(resumed)
    assert len(resumed) == len(set(resumed))
    page.close()


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedApp]:
    """A slide of which one tile, of column 1 and row 1, is no JPEG."""
    folder = tmp_path_factory.mktemp("damaged")
    path = write_slide(folder / "damaged.svs", patterned(10, 8))
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        across = -(-page.shape[1] // 256)
        offset, size = page.dataoffsets[across + 1], page.databytecounts[across + 1]
    _overwrite(path, offset, size)
    settings: dict[str, object] = {"PATHSERVE_VIEW": "1", "PATHSERVE_VIEW_FOLDER": str(folder)}
    with App(settings) as app, ServedApp(app) as served:
        yield served


def _overwrite(path: Path, offset: int, size: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(np.zeros(size, np.uint8).tobytes())


def test_a_patch_that_fails_shows_its_code_at_its_place(chromium: Chromium, damaged: ServedApp) -> None:
    page = chromium.open(f"{damaged.url}/view")
    page.open_listed()
    page.wait_embedded()
    failed = page.run("return [...session.slides[0].failed].map(([index, { code }]) => [index, code])")
    # The tile has pixels 256 to 511: patches of columns and rows 1 and 2.
    assert sorted(index for index, _ in failed) == [11, 12, 21, 22]
    assert {code for _, code in failed} == {"IMAGE_ERROR"}
    said = "IMAGE_ERROR (4 patches): A frame cannot be decoded"
    page.wait(lambda: page.text("#failed").startswith(said), "what is said")
    marks = page.run("return panes[0].marks.filter(({ kind }) => kind === 'failed').map(({ text }) => text)")
    assert marks == ["IMAGE_ERROR"] * 4
    page.click_patch(1, 1)
    page.wait(lambda: page.text("#status").startswith("This patch failed. IMAGE_ERROR"), "what is said of it")
    page.picture("failed")
    page.close()


def test_a_service_that_is_gone_stops_it_with_words_and_it_goes_on_later(
    chromium: Chromium, board: ServedApp
) -> None:
    page = chromium.open(f"{board.url}/view")
    page.page.route("**/predict", lambda route: route.abort())
    page.open_listed()
    page.wait(lambda: "UNREACHABLE" in page.text("#failed"), "what is said")
    assert "Is it running?" in page.text("#failed")
    page.page.unroute("**/predict")
    page.page.click("#embed")
    page.wait_embedded()
    page.wait(lambda: page.text("#failed") == "", "an empty list")
    page.close()
