"""The page works for everyone: by keyboard, read aloud, enlarged, small, dark."""

from __future__ import annotations

import pytest

from tests.integration.view.conftest import COLUMNS
from tests.support.app import ServedApp
from tests.support.browser import Chromium, ViewPage


def focused(view: ViewPage) -> str:
    return str(
        view.page.evaluate(
            "() => { const e = document.activeElement;"
            "return e.id || e.className || e.value || e.textContent.trim() || e.tagName }"
        )
    )


def tab_to(view: ViewPage, name: str) -> None:
    """Press Tab until something has the focus, as somebody without a mouse does."""
    for _ in range(60):
        if name in focused(view):
            return
        view.page.keyboard.press("Tab")
    raise AssertionError(f"{name} cannot be reached")


def outlined(view: ViewPage) -> bool:
    width = view.page.evaluate("() => getComputedStyle(document.activeElement).outlineWidth")
    return float(width.removesuffix("px")) >= 2


def test_the_keyboard_alone_does_everything(view: ViewPage) -> None:
    keys = view.page.keyboard
    view.page.wait_for_selector("#listed option", state="attached")
    tab_to(view, "listed")
    assert outlined(view)
    keys.press("Tab")
    view.opening(lambda: keys.press("Enter"))
    view.wait_embedded()
    view.page.evaluate("() => document.activeElement.blur()")
    tab_to(view, "openseadragon-canvas")
    assert outlined(view)
    zoom = view.run("return panes[0].viewer.viewport.getZoom()")

    def is_near() -> bool:
        keys.press("+")
        return bool(view.run("return panes[0].viewer.viewport.getZoom()") > 2 * zoom)

    view.wait(is_near, "the zoom")
    place = view.run("return panes[0].viewer.viewport.getCenter().x")
    keys.press("ArrowRight")
    view.wait(lambda: view.run("return panes[0].viewer.viewport.getCenter().x") != place, "the move")
    keys.press("Enter")
    view.wait(lambda: view.run("return session.query !== null && session.values !== null"), "the query")
    tab_to(view, "in-view")
    keys.press("Enter")
    view.wait(lambda: view.run("return session.query.polygon !== null"), "a region's query")
    view.page.wait_for_selector("#neighbours button")
    keys.press("Tab")
    place = view.run("return panes[0].viewer.viewport.getCenter().x")
    keys.press("Enter")
    view.wait(lambda: view.run("return panes[0].viewer.viewport.getCenter().x") != place, "a neighbour")
    tab_to(view, "likeness")
    keys.press("ArrowDown")
    view.wait(lambda: view.page.locator("#legend button").count() > 1, "the clusters")
    view.page.locator("#modes input:checked").focus()
    keys.press("Tab")
    keys.press("Space")
    view.wait(lambda: view.run("return session.show.only") == 0, "one cluster")
    tab_to(view, "opacity")
    keys.press("ArrowLeft")
    assert view.run("return session.show.opacity") == pytest.approx(0.7)
    tab_to(view, "Take away")
    keys.press("Enter")
    tab_to(view, "save-csv")
    with view.page.expect_download():
        keys.press("Enter")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_before_and_after_a_slide_is_open(
    chromium: Chromium, view_app: ServedApp, scheme: str
) -> None:
    view = chromium.open(f"{view_app.url}/view", color_scheme=scheme, reduced_motion="reduce")
    assert view.violations() == []
    view.open_listed()
    view.embed_some()
    view.click_patch(3, 3)
    view.page.wait_for_selector("#neighbours button")
    for section in ("opening", "taking"):
        view.show(section)
    assert view.violations() == []
    view.page.check("input[value=clusters]")
    view.page.wait_for_selector("#legend button")
    assert view.violations() == []
    view.picture(f"{scheme}")
    view.close()


@pytest.mark.parametrize(("width", "height", "what"), [(390, 844, "phone"), (640, 450, "200-percent")])
def test_nothing_is_cut_off_on_a_phone_or_at_twice_the_size(
    chromium: Chromium, view_app: ServedApp, width: int, height: int, what: str
) -> None:
    """At 200 % a window of 1280 x 900 has half as many CSS pixels."""
    view = chromium.open(f"{view_app.url}/view", width=width, height=height, device_scale_factor=2)
    view.open_listed()
    view.embed_some()
    assert view.page.evaluate("() => document.documentElement.scrollWidth") <= width
    view.click_patch(COLUMNS // 2, 3)
    view.page.wait_for_selector("#neighbours button")
    for control in ("#embed", "#draw", "#opacity", "#map"):
        view.page.locator(control).scroll_into_view_if_needed()
        spot = view.page.locator(control).bounding_box()
        assert spot is not None
        assert spot["x"] >= 0
        assert spot["x"] + spot["width"] <= width
    view.page.evaluate("() => scrollTo(0, 0)")
    view.picture(what)
    view.close()
