"""What the page computes is what numpy and scikit-learn compute."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from tests.integration.view.conftest import COLUMNS, ROWS
from tests.support.browser import ViewPage
from tests.support.local_slides import as_jpeg
from tests.support.models import probe
from tests.support.view import SIDE, patterned

Array = npt.NDArray[np.float64]


@pytest.fixture(scope="session")
def vectors() -> Array:
    """The probe's vectors of the slide, row by row."""
    pixels = as_jpeg(patterned(COLUMNS, ROWS))
    cells = pixels[: ROWS * SIDE, : COLUMNS * SIDE].reshape(ROWS, SIDE, COLUMNS, SIDE, 3).swapaxes(1, 2)
    return probe(cells.reshape(-1, SIDE, SIDE, 3)).astype(np.float64)


def cosines(vectors: Array, query: Array, *, subtract: bool = True) -> Array:
    mean = vectors.mean(axis=0) if subtract else 0
    centred, direction = vectors - mean, query - mean
    return np.asarray(centred @ direction / np.linalg.norm(centred, axis=1) / np.linalg.norm(direction))


def shown(view: ViewPage) -> Array:
    return np.array(view.run("return [...session.values[0]]"))


def top(values: Array, query: set[tuple[int, int]], most: int = 12) -> list[int]:
    """Return the highest values, but for what adjoins the query or one that is listed."""
    chosen: list[int] = []
    places = [(i % COLUMNS, i // COLUMNS) for i in range(len(values))]

    def near(a: tuple[int, int], b: tuple[int, int]) -> bool:
        return max(abs(a[0] - b[0]), abs(a[1] - b[1])) <= 1

    for index in np.argsort(-values, kind="stable").tolist():
        others = [*query, *(places[i] for i in chosen)]
        if len(chosen) < most and not any(near(places[index], other) for other in others):
            chosen.append(index)
    return chosen


def test_likeness_and_the_twelve_nearest_are_numpys(view: ViewPage, vectors: Array) -> None:
    view.open_listed()
    view.wait_embedded()
    view.click_patch(7, 6)
    view.wait(lambda: view.run("return session.values !== null && session.query !== null"), "the likeness")
    expected = cosines(vectors, vectors[6 * COLUMNS + 7])
    assert np.abs(shown(view) - expected).max() <= 1e-3
    listed = view.run("return session.neighbours().map(({ index }) => index)")
    assert listed == top(expected, {(7, 6)})
    view.page.locator("#showing").scroll_into_view_if_needed()
    view.page.uncheck("#subtract")
    plain = cosines(vectors, vectors[6 * COLUMNS + 7], subtract=False)
    view.wait(lambda: np.abs(shown(view) - plain).max() <= 1e-3, "the plain cosine")
    view.picture("likeness")


def test_vectors_are_kept_as_numpys_float16(view: ViewPage, vectors: Array) -> None:
    numbers = [
        0.0,
        -0.0,
        1.0,
        65504.0,
        65520.0,
        1e-8,
        6e-8,
        5.96e-8,
        6.1e-5,
        0.1,
        -2.5,
        2049.0,
        2051.0,
        np.pi,
    ]
    found = view.run(
        "const half = await import('/view/static/js/half.js'); return given.map(half.toHalf)", numbers
    )
    with np.errstate(over="ignore"):
        expected = np.array(numbers, np.float32).astype(np.float16).view(np.uint16).tolist()
    assert found == expected
    back = view.run(
        "const half = await import('/view/static/js/half.js'); return [...half.NUMBERS.slice(0, 31744)]"
    )
    assert np.array_equal(np.array(back), np.arange(31744, dtype=np.uint16).view(np.float16).astype(float))


def test_a_regions_patches_are_those_with_their_middle_inside_and_their_mean_is_the_query(
    view: ViewPage, vectors: Array
) -> None:
    view.open_listed()
    view.wait_embedded()
    view.page.click("#draw")
    canvas = view.page.locator(".openseadragon-canvas").first
    box = canvas.bounding_box()
    assert box is not None
    corners = [(0.2, 0.2), (0.7, 0.3), (0.6, 0.8), (0.4, 0.5), (0.25, 0.75)]
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    view.page.mouse.move(*points[0])
    view.page.mouse.down()
    for point in points[1:]:
        view.page.mouse.move(*point, steps=8)
    view.page.mouse.up()
    view.wait(lambda: view.run("return session.query !== null && session.values !== null"), "the query")
    polygon = [(p["x"], p["y"]) for p in view.run("return session.query.polygon")]
    inside = [
        i
        for i in range(COLUMNS * ROWS)
        if _inside((i % COLUMNS + 0.5) * SIDE, (i // COLUMNS + 0.5) * SIDE, polygon)
    ]
    assert len(inside) > 20
    assert view.run("return session.query.indexes") == inside
    mean = vectors[inside].mean(axis=0)
    assert np.abs(np.array(view.run("return [...session.query.vector]")) - mean).max() <= 1e-3
    assert np.abs(shown(view) - cosines(vectors, mean)).max() <= 1e-3
    view.picture("region")


def _inside(x: float, y: float, polygon: list[tuple[float, float]]) -> bool:
    from shapely import Point, Polygon

    # The winding that is drawn may cross itself: by the even-odd rule, as the page has it.
    shape = Polygon(polygon)
    return bool((shape if shape.is_valid else shape.buffer(0)).contains(Point(x, y)))


def test_components_are_those_of_the_singular_value_decomposition(view: ViewPage, vectors: Array) -> None:
    view.open_listed()
    view.wait_embedded()
    view.page.check("input[value=components]")
    view.wait(lambda: view.run("return session.components !== null"), "the components")
    found = np.array(view.run("return [...session.components.scores[0]]")).reshape(-1, 3)
    centred = vectors - vectors.mean(axis=0)
    scores = centred @ np.linalg.svd(centred, full_matrices=False)[2][:3].T
    for c in range(3):
        assert abs(np.corrcoef(found[:, c], scores[:, c])[0, 1]) >= 0.999
    view.picture("components")


def test_clusters_are_those_of_k_means_and_the_legend_sums_to_all_patches(
    view: ViewPage, vectors: Array
) -> None:
    view.open_listed()
    view.stop_embedding()
    # Four kinds of vectors, far apart: there is one right answer.
    rng = np.random.default_rng(3)
    kinds = rng.integers(0, 4, COLUMNS * ROWS)
    centres = rng.normal(size=(4, 384))
    made = (centres[kinds] + rng.normal(scale=0.2, size=(COLUMNS * ROWS, 384))).astype(np.float32)
    view.run(
        "const slide = session.slides[0]; const { Vectors } = await import('/view/static/js/vectors.js');"
        "slide.vectors = new Vectors(slide.grid.count, 384);"
        "given.forEach((row, i) => slide.vectors.set(i, row));",
        made.tolist(),
    )
    view.page.fill("#k", "4") if view.page.locator("#k").is_visible() else None
    view.page.check("input[value=clusters]")
    view.page.fill("#k", "4")
    view.page.locator("#k").press("Tab")
    view.wait(lambda: view.run("return session.labels?.k === 4"), "the clusters")
    labels = view.run("return [...session.labels.labels[0]]")
    assert adjusted_rand_score(kinds, labels) >= 0.99
    assert adjusted_rand_score(KMeans(4, n_init=4, random_state=0).fit_predict(made), labels) >= 0.99
    view.wait(lambda: view.page.locator("#legend button").count() == 4, "the legend")
    texts = view.page.locator("#legend button").all_inner_texts()
    assert sum(int(text.split(":")[1].replace(",", "")) for text in texts) == COLUMNS * ROWS
    view.page.locator("#legend button").first.click()
    assert view.run("return session.show.only") == 0
    assert view.page.locator("#legend button").first.get_attribute("aria-pressed") == "true"
    picture = np.array(Image.open(io.BytesIO(bytes(view.run(_PICTURE)))).convert("RGBA"), np.uint8)
    assert np.array_equal(picture[..., 3].reshape(-1) > 0, np.array(labels) == 0)
    view.picture("clusters")


_PICTURE = (
    "const blob = await session.picture(0).convertToBlob();"
    "return [...new Uint8Array(await blob.arrayBuffer())]"
)
