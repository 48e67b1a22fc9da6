"""The map lies on the slide, at every zoom and in every corner."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.app import App, ServedApp
from tests.support.browser import Chromium, ViewPage
from tests.support.view import SIDE, checkerboard, write_slide

PATCHES = 40
ZOOMS = (0.08, 0.15, 0.3, 0.6, 1.0, 2.0)
CORNERS = ((0, 0), (1, 0), (0, 1), (1, 1))

# The labels are the board's own, so that each edge of the map should be where the slide has one. Edges are
# looked for along a row and a column of pixels through the middle of patches.
_PREPARE = """
const slide = session.slides[0];
const { columns, count } = slide.grid;
session.show.onlyTissue = false;
session.show.mode = "clusters";
session.show.opacity = 1;
session.labels = {
  k: 2,
  labels: [Int8Array.from({ length: count }, (_, i) => ((i % columns) + Math.floor(i / columns)) % 2)],
};
panes[0].picture = session.picture(0);
panes[0].marks = [];
"""

_EDGES = """
const pane = panes[0];
const { viewport } = pane.viewer;
const whole = pane.slide.width;
viewport.zoomTo(viewport.imageToViewportZoom(given.zoom), null, true);
const { width, height } = viewport.getBounds(true);
const place = (corner, size) => (corner ? Math.max(1 - size / 2, 0.5) : Math.min(size / 2, 0.5));
viewport.panTo(new OpenSeadragon.Point(place(given.x, width), place(given.y, height)), true);
const item = pane.viewer.world.getItemAt(0);
// Whether all is loaded is said of the view before until this one has been drawn; and what has come meanwhile
// is seen once it has been drawn, too.
const drawn = async () => {
  pane.viewer.forceRedraw();
  await new Promise((resolve) => pane.viewer.addOnceHandler("update-viewport", resolve));
};
do await drawn();
while (!item.getFullyLoaded());
await drawn();
pane.draw();
const { side } = pane.slide.grid;
const drawer = pane.viewer.drawer.canvas;
const read = (canvas, isRow, at, length) => {
  const context = canvas.getContext("2d");
  const { data } = isRow ? context.getImageData(0, at, length, 1) : context.getImageData(at, 0, 1, length);
  return Array.from({ length }, (_, i) => data[i * 4]);
};
// Where neighbours differ: the place of each step, by linear interpolation of what lies between the levels.
const steps = (line, low, high, first, last) => {
  const middle = (low + high) / 2;
  const found = [];
  for (let i = Math.max(1, Math.ceil(first)); i < Math.min(line.length, Math.floor(last)); i += 1) {
    const [a, b] = [line[i - 1], line[i]];
    if (a < middle !== b < middle) found.push(i - 0.5 + (middle - a) / (b - a));
  }
  return found;
};
const results = [];
for (const isRow of [true, false]) {
  const axis = isRow ? "x" : "y";
  const other = isRow ? "y" : "x";
  const length = isRow ? pane.canvas.width : pane.canvas.height;
  const across = isRow ? pane.canvas.height : pane.canvas.width;
  // The middle of the patch in the middle of the view.
  const bounds = viewport.getBounds(true);
  const centre = (isRow ? bounds.y + bounds.height / 2 : bounds.x + bounds.width / 2) * whole;
  const inside = Math.min(Math.max(centre, side), whole - side);
  const lane = Math.floor(inside / side) * side + side / 2;
  const at = Math.round(pane.toCanvas({ [axis]: 0, [other]: lane })[other]);
  if (at < 0 || at >= across) continue;
  const [first, last] = [0, whole].map((pixel) => pane.toCanvas({ [axis]: pixel, [other]: lane })[axis]);
  const map = steps(read(pane.canvas, isRow, at, length), 0, 230, first + 3, last - 3);
  const slide = steps(read(drawer, isRow, at, length), 60, 230, first + 3, last - 3);
  const theory = [];
  for (let edge = side; edge < whole; edge += side) {
    const pixel = pane.toCanvas({ [axis]: edge, [other]: lane })[axis];
    if (pixel > Math.max(4, first + 4) && pixel < Math.min(length, last) - 4) theory.push(pixel);
  }
  results.push({ map, slide, theory });
}
return results;
"""


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedApp]:
    folder = tmp_path_factory.mktemp("board")
    write_slide(folder / "board.svs", checkerboard(PATCHES), (1, 4))
    settings: dict[str, object] = {"PATHSERVE_VIEW": "1", "PATHSERVE_VIEW_FOLDER": str(folder)}
    with App(settings) as app, ServedApp(app) as served:
        yield served


@pytest.fixture(scope="module")
def on_board(chromium: Chromium, board: ServedApp) -> Iterator[ViewPage]:
    page = chromium.open(f"{board.url}/view")
    page.open_listed()
    page.stop_embedding()
    page.run(_PREPARE)
    yield page
    page.picture("checkerboard")
    page.close()


def _furthest(found: list[float], theory: list[float]) -> float:
    return max(min(abs(edge - step) for step in found) for edge in theory)


@pytest.mark.parametrize("zoom", ZOOMS)
def test_the_map_is_at_most_two_pixels_off_the_slide_in_all_corners(on_board: ViewPage, zoom: float) -> None:
    for x, y in CORNERS:
        results = on_board.run(_EDGES, {"zoom": zoom, "x": x, "y": y})
        assert len(results) == 2
        for lines in results:
            assert lines["theory"], "an edge is in view"
            assert _furthest(lines["map"], lines["theory"]) <= 1
            assert _furthest(lines["slide"], lines["theory"]) <= 2
            assert max(min(abs(a - b) for b in lines["slide"]) for a in lines["map"]) <= 2
            assert SIDE * zoom > 4
