"""A real browser: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from playwright.sync_api import Browser, Page, Request, sync_playwright

PICTURES = Path(__file__).parents[2] / "build" / "view"
AXE = Path(__file__).parent / "vendor" / "axe.min.js"

WAIT_S = 180.0
"""For what takes a second or two where nothing else runs."""


def missing() -> str:
    """Return why there is no browser here; empty where there is one."""
    return "" if shutil.which("chromium") else "Chromium is not installed: apt install chromium"


@dataclass
class Seen:
    """What a page has done.

    Attributes
    ----------
    complaints:
        Errors and warnings of its console, refusals by its policy included, and exceptions nobody caught.
    requests:
        All that it asked for.
    """

    complaints: list[str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)


class Chromium:
    """The browser; use it as a context manager."""

    @property
    def arguments(self) -> list[str]:
        """What its command needs here: root has no sandbox."""
        return ["--no-sandbox"] if os.geteuid() == 0 else []

    def __enter__(self) -> Self:
        self._playwright = sync_playwright().start()
        self.browser: Browser = self._playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=self.arguments
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.browser.close()
        self._playwright.stop()

    def open(self, url: str, *, width: int = 1280, height: int = 900, **options: Any) -> ViewPage:
        """Open the service's page at an address, in a profile of its own."""
        return ViewPage(self._new_page(width, height, options), url)

    def look(self, url: str, *, width: int = 1280, height: int = 900, **options: Any) -> OpenPage:
        """Open any page, in a profile of its own."""
        return OpenPage(self._new_page(width, height, options), url)

    def _new_page(self, width: int, height: int, options: dict[str, Any]) -> Page:
        context = self.browser.new_context(
            viewport={"width": width, "height": height}, accept_downloads=True, **options
        )
        context.set_default_timeout(WAIT_S * 1000)
        return context.new_page()


class OpenPage:
    """A page that is open in a browser.

    Attributes
    ----------
    seen:
        What it has done.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.seen = Seen()
        page.on("console", self._note_console)
        page.on("pageerror", lambda error: self.seen.complaints.append(str(error)))
        page.on("request", self._note_request)
        page.goto(url)

    def _note_request(self, request: Request) -> None:
        self.seen.requests.append(request)

    def _note_console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.seen.complaints.append(f"{message.text} {message.location}")

    def close(self) -> None:
        """Close it with all of its profile."""
        self.page.context.close()

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Wait until a condition holds; the page's policy forbids Playwright's own way of waiting."""
        end = time.monotonic() + WAIT_S
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(
                    f"waited {WAIT_S} s for {what}; {self.text('#fault')} {self.seen.complaints}"
                )
            self.page.wait_for_timeout(20)

    def text(self, selector: str) -> str:
        """Return the text that is shown at a place."""
        return self.page.locator(selector).first.inner_text()

    def violations(self) -> list[Any]:
        """Return what axe finds, with the places."""
        self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found = self.page.evaluate("async () => (await axe.run()).violations")
        return [(v["id"], [node["target"] for node in v["nodes"]]) for v in found]

    def picture(self, name: str) -> None:
        """Keep a screenshot for people to look at."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=str(PICTURES / f"{name}.png"))


class ViewPage(OpenPage):
    """The service's page at ``/view``, open in a browser."""

    def run(self, code: str, argument: Any = None) -> Any:
        """Run a function's body with the page's ``session`` and ``panes``; ``given`` is the argument."""
        return self.page.evaluate(
            "async (given) => { const { session, panes, service } = "
            "await import('/view/static/js/main.js'); " + code + " }",
            argument,
        )

    def open_listed(self, name: str = "") -> None:
        """Open a slide of the list, by default the first, and wait until it is drawn."""
        self.page.wait_for_selector("#listed option", state="attached")
        self.show("opening")
        if name:
            self.page.select_option("#listed", label=name)
        self.opening(lambda: self.page.click("#open-listed button"))

    def opening(self, act: Callable[[], object], place: int = 0) -> None:
        """Do what opens a slide in a place, and wait until it is drawn."""
        self.run("globalThis.before = session.slides[given]", place)
        act()
        drawn = (
            "const now = session.slides[given];"
            "return Boolean(now) && now !== globalThis.before && panes[given].slide === now && "
            "panes[given].viewer.world.getItemCount() > 0 && "
            "document.getElementById('status').textContent !== 'Opening …'"
        )
        self.wait(lambda: self.run(drawn, place), "the slide")

    def show(self, section: str) -> None:
        """Unfold a section of the panel."""
        if self.page.locator(f"#{section}").get_attribute("open") is None:
            self.page.locator(f"#{section} > summary").click()

    def wait_embedded(self) -> None:
        """Wait until all patches that are to be embedded are."""

        def done() -> bool:
            return bool(
                self.run(
                    "return session.places.every(({ embedding }) => embedding.total > 0 && "
                    "embedding.done === embedding.total && !embedding.isRunning)"
                )
            )

        self.wait(done, "the embedding")

    def embed_some(self) -> None:
        """Wait until a few patches are embedded, and end it."""
        self.wait(lambda: self.run("return session.slides[0].vectors.done > 60"), "some vectors")
        self.stop_embedding()

    def stop_embedding(self) -> None:
        """End what is embedded."""
        self.run("session.places.forEach(({ embedding }) => embedding.cancel())")
        self.wait(
            lambda: not self.run("return session.places.some(({ embedding }) => embedding.isRunning)"),
            "its end",
        )

    def click_patch(self, column: int, row: int, place: int = 0) -> None:
        """Click the middle of a patch."""
        at = self.run(
            "const pane = panes[given.place]; const { grid } = pane.slide;"
            "const { x, y } = pane.toCanvas(grid.middle(given.row * grid.columns + given.column));"
            "return { x: x / pane.ratio, y: y / pane.ratio };",
            {"column": column, "row": row, "place": place},
        )
        self.page.locator(".openseadragon-canvas").nth(place).click(position=at)
