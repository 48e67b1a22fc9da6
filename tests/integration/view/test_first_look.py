"""What a person sees first: quickly, under a strict policy, and told what the model is worth."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.app import App, ServedApp
from tests.support.browser import Chromium, ViewPage
from tests.support.encoders import ProbeEncoder
from tests.support.view import write_large

ROUNDS = 4

QUIET_MS = 50.0
"""What the sums of ``_slower`` take on a core of its own."""


def test_nothing_is_loaded_from_elsewhere_and_the_policy_is_strict_and_kept(
    view: ViewPage, view_app: ServedApp
) -> None:
    view.open_listed()
    view.click_patch(3, 3)
    view.wait(lambda: view.run("return session.query !== null"), "the query")
    for mode in ("clusters", "components", "nothing", "likeness"):
        view.page.check(f"input[value={mode}]")
    view.wait_embedded()
    assert all(request.url.startswith(f"{view_app.url}/") for request in view.seen.requests)
    answer = view_app.session.get(f"{view_app.url}/view", timeout=10)
    assert answer.headers["Content-Security-Policy"] == (
        "default-src 'none'; script-src 'self'; "
        "style-src 'self' 'sha256-9xTiqzfwFaL2SGb1rmr8gysEwVVjIvqWAgmZgqFqpEE='; img-src 'self'; "
        "connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert view.seen.complaints == []


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedApp]:
    """A slide of 89 x 89 patches that nothing is embedded of unless it is asked for."""
    folder = tmp_path_factory.mktemp("large")
    write_large(folder / "large.svs", 20_000)
    settings: dict[str, object] = {"PATHSERVE_VIEW": "1", "PATHSERVE_VIEW_FOLDER": str(folder)}
    with App(settings) as app, ServedApp(app) as served:
        yield served


def test_the_first_view_takes_three_seconds_and_a_click_a_tenth_of_one_with_8000_patches(
    chromium: Chromium, large: ServedApp
) -> None:
    page = chromium.open(f"{large.url}/view")
    firsts, medians, longest = [], [], []
    for _ in range(ROUNDS):
        slower = _slower(page)
        firsts.append(_first_view(page) / slower)
        slower = _slower(page)
        times = _clicks(page)
        medians.append(statistics.median(times) / slower)
        longest.append(max(times) / slower)
        if firsts[-1] <= 3000 and medians[-1] <= 100 and longest[-1] <= 500:
            break
    assert min(firsts) <= 3000, firsts
    assert min(medians) <= 100, medians
    assert min(longest) <= 500, longest
    page.picture("large")
    page.close()


def test_clicks_are_answered_while_components_and_clusters_of_8000_patches_are_computed(
    chromium: Chromium, large: ServedApp, record_property: Callable[[str, object], None]
) -> None:
    page = chromium.open(f"{large.url}/view")
    page.open_listed()
    _clicks(page)
    for mode in ("components", "clusters"):
        found = page.run(_ANALYSE, mode)
        record_property(f"{mode}, ms on a shared machine", found["taken"])
        assert found["meanwhile"] >= 1
    assert page.run("return session.labels.labels[0].length === 7921 && session.components !== null")
    page.close()


_ANALYSE = """
session.show.mode = given;
const begun = performance.now();
let taken = 0;
const analysing = session.analyse().then(() => (taken = performance.now() - begun));
let meanwhile = 0;
for (let i = 0; i < 3; i += 1) {
  session.show.mode = "likeness";
  await panes[0].on.pick(panes[0], 500 + 600 * i);
  meanwhile += taken === 0 && session.values[0][500 + 600 * i] > 0.99;
}
await analysing;
return { taken, meanwhile };
"""


def _slower(page: ViewPage) -> float:
    """Return how many times slower than on its own the browser runs now: machines are shared."""
    taken: float = page.run(
        "const values = Float32Array.from({ length: 384000 }, (_, i) => i % 7); let sum = 0;"
        "const begun = performance.now();"
        "for (let round = 0; round < 80; round += 1)"
        "  for (let i = 0; i < values.length; i += 1) sum += values[i] * values[i];"
        "return sum && performance.now() - begun"
    )
    return max(1.0, taken / QUIET_MS)


def _first_view(page: ViewPage) -> float:
    """Open the slide; return the milliseconds until all tiles in view are drawn."""
    page.show("opening")
    return float(
        page.run(
            "const begun = performance.now();"
            "const all = new Promise((resolve) => panes[0].viewer.addOnceHandler('open', () => {"
            "  const item = panes[0].viewer.world.getItemAt(0);"
            "  const look = () => (item.getFullyLoaded() ? resolve() : setTimeout(look, 10)); look(); }));"
            "document.querySelector('#open-listed button').click();"
            "await all;"
            "const taken = performance.now() - begun;"
            "session.places[0].embedding.cancel();"
            "return taken;"
        )
    )


def _clicks(page: ViewPage) -> list[float]:
    """Return the milliseconds from ten clicks to the next frame that shows what they found."""
    page.stop_embedding()
    times: list[float] = page.run(
        "const slide = session.slides[0]; const { Vectors } = await import('/view/static/js/vectors.js');"
        "slide.vectors = new Vectors(slide.grid.count, 384);"
        "let seed = 1; const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;"
        "for (let i = 0; i < slide.grid.count; i += 1)"
        "  slide.vectors.set(i, Float32Array.from({ length: 384 }, random));"
        "const times = [];"
        "for (let i = 0; i < 10; i += 1) {"
        "  const begun = performance.now();"
        "  await panes[0].on.pick(panes[0], 500 + 600 * i);"
        "  await new Promise(requestAnimationFrame);"
        "  times.push(performance.now() - begun);"
        "} return times;"
    )
    assert page.run("return session.slides[0].vectors.done") == 7921
    return times


class _Untrained(ProbeEncoder):
    facts = ProbeEncoder.facts.__class__(
        "vit-s16-untrained", True, 384, "CPU", "float32", "", f"sha256:{'1' * 64}", "NumPy", 16
    )


@pytest.mark.parametrize("untrained", [True, False])
def test_a_banner_says_untrained_while_the_model_is(
    chromium: Chromium, slide_folder: Path, *, untrained: bool
) -> None:
    settings: dict[str, object] = {"PATHSERVE_VIEW": "1", "PATHSERVE_VIEW_FOLDER": str(slide_folder)}
    with App(settings, load=_Untrained if untrained else ProbeEncoder) as app, ServedApp(app) as served:
        page = chromium.open(f"{served.url}/view")
        page.wait(lambda: page.page.locator("#listed option").count() == 1, "the list")
        assert page.page.locator("#untrained").is_visible() is untrained
        page.open_listed()
        assert page.page.locator("#untrained").is_visible() is untrained
        page.close()
