"""The page lists the slides of the service's own store; a link names one; tokens go to their store only."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from serving.config.settings import load_settings
from serving.store.access.roles import Permission
from serving.store.predict.http import context_with_store
from tests.support.app import App, ServedApp
from tests.support.browser import Chromium
from tests.support.slide_store import ServedStore
from tests.support.slides import CODINGS, Slide
from tests.support.view import patterned


class Own:
    """A store of two slides, and the service that reads its files."""

    def __init__(self, store: ServedStore, served: ServedApp, slides: list[Slide]) -> None:
        self.store, self.served, self.slides = store, served, slides


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    store, slides = ServedStore(tmp_path_factory.mktemp("store")), [Slide(), Slide()]
    for slide in slides:
        slide.add_level(patterned(5, 4), CODINGS["JPEG"])
        store.add_slide(slide)
    settings: dict[str, object] = {
        "PATHSERVE_STORE_DIR": str(store.parts.folder),
        "PATHSERVE_STORE_URL": store.url,
        "PATHSERVE_STORE_MIN_FREE_BYTES": 0,
        "PATHSERVE_VIEW": "1",
    }
    app = App(settings)
    app.context = context_with_store(load_settings(settings, {}))
    with store, app, ServedApp(app) as served:
        yield Own(store, served, slides)


def test_the_slides_that_a_token_opens_are_listed_and_one_is_opened(chromium: Chromium, own: Own) -> None:
    slide = own.slides[1]
    token = own.store.token(Permission(frozenset({slide.study})))
    view = chromium.open(f"{own.served.url}/view")
    view.page.wait_for_selector("#list-store")
    view.page.fill("#token", token)
    view.page.click("#list-store")
    view.page.wait_for_selector("#stored")
    assert view.page.locator("#stored option").count() == 1
    assert view.page.input_value("#series") == own.store.series_path(slide)
    view.opening(lambda: view.page.click("#open-series button:not([type])"))
    view.wait_embedded()
    assert view.run("return session.slides[0].name") == slide.series
    assert not [request.url for request in view.seen.requests if token in request.url]
    assert view.seen.complaints == []
    view.close()


def test_a_link_names_a_series_and_the_page_asks_for_its_token(chromium: Chromium, own: Own) -> None:
    slide, token = own.slides[0], own.store.token()
    address = own.store.series_path(slide)
    view = chromium.open(f"{own.served.url}/view#series={quote(address, safe='')}")
    view.wait(lambda: "names a series of" in view.text("#status"), "what is said of the link")
    assert view.page.input_value("#series") == address
    assert view.page.evaluate("() => document.activeElement.id") == "token"
    assert view.run("return session.slides.length") == 0, (
        "nothing is asked of a store before a person says so"
    )
    view.page.keyboard.type(token)
    view.opening(lambda: view.page.keyboard.press("Enter"))
    assert view.run("return session.slides[0].name") == slide.series
    assert token not in view.page.url
    view.close()


def test_a_token_is_not_sent_to_another_store_that_is_entered_later(chromium: Chromium, own: Own) -> None:
    view = chromium.open(f"{own.served.url}/view")
    token = own.store.token()
    view.page.wait_for_selector("#list-store")
    view.page.fill("#series", own.store.series_path(own.slides[0]))
    view.page.fill("#token", token)
    view.opening(lambda: view.page.click("#open-series button:not([type])"))
    view.show("opening")
    view.page.fill("#series", "http://127.0.0.1:9/dicomweb/studies/1.2/series/1.3")
    view.page.click("#open-series button:not([type])")
    view.wait(lambda: view.page.locator("#fault").is_visible(), "what is wrong")
    (request,) = [one for one in view.seen.requests if "/studies/1.2/" in (one.post_data or "")]
    assert "x-store-token" not in request.all_headers()
    assert view.page.input_value("#token") == ""
    view.close()
