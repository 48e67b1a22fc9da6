"""What can be opened: series of a store with a token, pictures, two slides beside each other."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from serving.heads.file import write_head
from serving.heads.head import Head
from tests.integration.view.conftest import COLUMNS
from tests.support.app import App, ServedApp
from tests.support.browser import Chromium, ViewPage
from tests.support.encoders import ProbeEncoder
from tests.support.models import probe
from tests.support.slides import CODINGS, Slide
from tests.support.store import Behaviour, Store
from tests.support.view import SIDE, patterned, shrunk

TOKEN = "planted-token-of-the-store"


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    """A store that wants a token, with a slide of 5 x 4 patches."""
    slide, pixels = Slide(), patterned(5, 4)
    for times in (1, 4):
        slide.add_level(pixels if times == 1 else shrunk(pixels, times), CODINGS["JPEG"])
    with Store(slide, behaviour=Behaviour(tokens={TOKEN})) as found:
        yield found


def open_series(view: ViewPage, store: Store, token: str) -> None:
    view.show("opening")
    view.page.fill("#series", store.series_path(store.slides[0]))
    view.page.fill("#token", token)
    view.page.click("#open-series button")


def test_a_series_opens_with_its_token_which_is_found_nowhere_else(
    view: ViewPage, store: Store, view_app: ServedApp
) -> None:
    view.opening(lambda: open_series(view, store, TOKEN))
    view.wait_embedded()
    view.click_patch(1, 1)
    view.wait(lambda: view.run("return session.values !== null"), "the likeness")
    view.page.wait_for_selector("#neighbours button")
    assert {request.token for request in store.requests} == {f"Bearer {TOKEN}"}
    urls = [request.url for request in view.seen.requests]
    assert not [url for url in urls if TOKEN in url]
    assert any("/tiles/" in url for url in urls)
    kept = view.page.evaluate(
        "() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])"
    )
    assert kept == '[{},{},""]'
    assert TOKEN not in view_app.app.log()
    vectors = probe(np.stack([patterned(5, 4)[:SIDE, :SIDE]]))
    first = np.array(view.run("return [...session.slides[0].vectors.row(0)]"))
    assert np.abs(first - vectors[0]).max() < 0.02, "but for JPEG"


def test_a_token_that_is_wrong_is_said_to_be(view: ViewPage, store: Store) -> None:
    open_series(view, store, "wrong-token")
    view.wait(lambda: "INVALID_CREDENTIALS_ERROR" in view.text("#fault"), "what is wrong")
    view.seen.complaints.clear()  # the browser notes each answer that is an error


def test_a_picture_is_embedded_as_a_whole_and_shown(view: ViewPage, tmp_path: Path) -> None:
    pixels = patterned(6, 5, (30, 20))
    path = tmp_path / "<img src=x onerror=alert(1)>.png"
    Image.fromarray(pixels).save(path)
    view.show("opening")
    view.opening(lambda: view.page.set_input_files("#file", str(path)))
    view.wait_embedded()
    patches = np.stack([pixels[y : y + SIDE, x : x + SIDE] for x, y in ((0, 0), (5 * SIDE, 4 * SIDE))])
    found = np.array(
        view.run("const { vectors } = session.slides[0]; return [[...vectors.row(0)], [...vectors.row(29)]]")
    )
    assert np.abs(found - probe(patches)).max() < 1e-3
    assert view.text("#pane-0 .name") == path.name, "a name is text, whatever it looks like"
    view.click_patch(2, 2)
    view.page.wait_for_selector("#neighbours button")
    assert path.name in view.text("#query")
    assert view.page.locator("img").count() == 0


def test_what_is_no_picture_is_said_to_be_none(view: ViewPage, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no picture", encoding="utf-8")
    view.show("opening")
    view.page.set_input_files("#file", str(path))
    view.wait(lambda: "Choose a JPEG, PNG or WebP" in view.text("#fault"), "what to do")


def test_two_slides_answer_one_question(view: ViewPage, tmp_path: Path) -> None:
    view.open_listed()
    view.wait_embedded()
    path = tmp_path / "beside.png"
    data = io.BytesIO()
    Image.fromarray(patterned(6, 5, (30, 20))).save(data, "PNG")
    path.write_bytes(data.getvalue())
    view.show("opening")
    view.page.check("#beside")
    view.opening(lambda: view.page.set_input_files("#file", str(path)), place=1)
    view.wait_embedded()
    view.click_patch(1, 1, place=1)
    view.wait(lambda: view.run("return session.values?.length === 2"), "two maps")
    found = view.run("return session.values.map((values) => values.length)")
    assert found == [COLUMNS * 12, 30]
    assert view.run("return session.query.slide === session.slides[1]")
    listed = view.run("return session.neighbours().map(({ value }) => value)")
    assert len(listed) == 12
    assert listed == sorted(listed, reverse=True), "those of both slides in one list"
    extremes = view.run("return [session.window.low, session.window.high]")
    assert extremes == view.run(
        "const { percentiles } = await import('/view/static/js/colours.js');"
        "const { low, high } = percentiles(session.shownValues(), 0.5, 0.99); return [low, high]"
    )
    view.picture("beside")
    view.page.click("#close-beside")
    view.wait(lambda: view.run("return session.slides.length") == 1, "one slide")


@pytest.fixture(scope="module")
def head_app(slide_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedApp]:
    weights = np.random.default_rng(1).normal(size=(3, 384)).astype(np.float32)
    head = Head(
        "three kinds",
        ("one", "two", "three"),
        ("#112233", "#445566", "#778899"),
        weights,
        np.zeros(3, np.float32),
        0.5,
        ProbeEncoder.facts.digest,
    )
    path = tmp_path_factory.mktemp("head") / "head.json"
    write_head(path, head)
    settings: dict[str, object] = {
        "PATHSERVE_VIEW": "1",
        "PATHSERVE_VIEW_FOLDER": str(slide_folder),
        "PATHSERVE_VIEW_HEAD": str(path),
    }
    with App(settings) as app, ServedApp(app) as served:
        served.head = head  # type: ignore[attr-defined]
        yield served


def test_the_scores_of_a_head_are_its_own(chromium: Chromium, head_app: ServedApp) -> None:
    view = chromium.open(f"{head_app.url}/view")
    view.open_listed()
    view.wait_embedded()
    view.page.check("input[value=head]")
    view.page.select_option("#head-class", label="two")
    view.wait(
        lambda: view.run("return session.values !== null && session.show.headClass === 1"), "the scores"
    )
    rows = np.array(
        view.run("return Array.from({ length: 5 }, (_, i) => [...session.slides[0].vectors.row(i)])"),
        np.float32,
    )
    expected = head_app.head.probabilities(rows)[:, 1]  # type: ignore[attr-defined]
    assert np.abs(np.array(view.run("return [...session.values[0].slice(0, 5)]")) - expected).max() < 1e-3
    view.picture("head")
    view.close()
