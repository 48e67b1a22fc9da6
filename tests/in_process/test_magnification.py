"""The magnification guard: what it lets pass, what it says, and what it refuses before anything is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from serving.client import Image, PathserveClient
from serving.pipeline.outcome import Embeddings
from tests.support.app import App, ServedApp
from tests.support.asking import ask, predictions
from tests.support.slides import Slide, pyramid
from tests.support.store import Store
from tests.support.tissue import encode, instance, tissue

GUARD = "PATHSERVE_MAGNIFICATION_GUARD"
HAMAMATSU_20X = 0.4537e-3
"""mm."""


def spaced(mm: float, size: tuple[int, int] = (1000, 700)) -> Slide:
    """Return a slide of one level with pixels of a size, in mm."""
    slide = pyramid("explicit", [size])
    measures = slide.instances[0].dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.PixelSpacing = [mm, mm]
    return slide


def asked_of(store: Store, slide: Slide, **extensions: Any) -> dict[str, Any]:
    return ask(store, slide, [slide.instances[0].uid], (0, 0), **extensions)


@pytest.fixture(scope="module")
def warning() -> Iterator[App]:
    with App({GUARD: "warn"}) as app:
        yield app


@pytest.fixture(scope="module")
def refusing() -> Iterator[App]:
    with App({GUARD: "refuse"}) as app:
        yield app


@pytest.fixture(scope="module")
def strict() -> Iterator[App]:
    with App({GUARD: "strict"}) as app:
        yield app


def test_it_is_off_unless_it_is_asked_for(probe_app: App) -> None:
    with Store(slide := spaced(0.00025)) as store:
        answer = probe_app.predict(asked_of(store, slide)).json()

    assert "result" in answer["predictions"][0]
    assert "warnings" not in answer["metadata"]


@pytest.mark.parametrize("mm", [HAMAMATSU_20X, 0.0005, 0.001, 0.002])
def test_what_the_model_is_made_for_passes_without_a_word(strict: App, warning: App, mm: float) -> None:
    with Store(slide := spaced(mm)) as store:
        for app in (strict, warning):
            answer = app.predict(asked_of(store, slide)).json()
            assert "result" in answer["predictions"][0], answer
            assert "warnings" not in answer["metadata"]


def test_a_warning_names_its_instance_and_the_vectors_are_the_same(probe_app: App, warning: App) -> None:
    fine, right = spaced(0.00025), spaced(0.0005)
    with Store(fine, right) as store:
        asked = [asked_of(store, right), asked_of(store, fine), instance(encode(tissue()))]
        answer, plain = warning.predict(*asked).json(), probe_app.predict(*asked).json()
        metrics = warning.get("/metrics").text

    first, second = answer["metadata"]["warnings"]
    assert (first["instance"], first["verdict"], first["um_per_px"]) == (1, "too_fine", [0.25, 0.25])
    assert "0.25 µm" in first["description"]
    assert "width_px 500 and height_px 350" in first["description"]
    assert (second["instance"], second["verdict"], second["um_per_px"]) == (2, "unknown", None)
    assert "Nothing says" in second["description"]
    assert answer["predictions"] == plain["predictions"]
    assert 'pathserve_magnification_warnings_total{verdict="too_fine"}' in metrics
    assert {"too_fine": 1, "unknown": 1} in [line.get("magnification") for line in warning.log_lines()]


def test_a_refusal_comes_before_a_frame_is_fetched_and_harms_no_other(refusing: App) -> None:
    fine, right = spaced(0.00025), spaced(0.0005)
    with Store(fine, right) as store:
        refused, passed = predictions(refusing, asked_of(store, fine), asked_of(store, right))
        fetched = {request.path.split("/series/")[1].split("/")[0] for request in store.frame_requests()}

    assert refused["error"]["code"] == "MAGNIFICATION_ERROR"
    assert "0.5 to 2 µm a pixel" in refused["error"]["description"]
    assert "result" in passed
    assert fetched == {right.series}


def test_what_is_suggested_passes(refusing: App) -> None:
    with Store(slide := spaced(0.00025)) as store:
        size = {"width_px": 500, "height_px": 350}
        (refused,) = predictions(refusing, asked_of(store, slide))
        (found,) = predictions(refusing, asked_of(store, slide, image_dimensions=size))

    assert all(f"{name} {value}" in refused["error"]["description"] for name, value in size.items())
    assert "result" in found


def test_an_unknown_size_is_refused_only_where_that_is_wanted(refusing: App, strict: App) -> None:
    sent = instance(encode(tissue()))
    passed, refused = refusing.predict(sent).json(), strict.predict(sent).json()

    assert passed["metadata"]["warnings"][0]["verdict"] == "unknown"
    assert refused["predictions"][0]["error"]["code"] == "MAGNIFICATION_ERROR"
    assert "source_um_per_px" in refused["predictions"][0]["error"]["description"]


@pytest.mark.parametrize(("um", "code"), [(0.5, None), (0.25, "MAGNIFICATION_ERROR")])
def test_the_caller_may_say_how_large_pixels_are(strict: App, um: float, code: str | None) -> None:
    stated = {"source_um_per_px": {"x": um, "y": um}, "provenance": True}
    (found,) = predictions(strict, instance(encode(tissue()), extensions=stated))

    assert found.get("error", {}).get("code") == code
    if code is None:
        image = found["result"]["provenance"]["image"]
        assert (image["um_per_px"], image["um_per_px_from"]) == ([0.5, 0.5], "caller")


@pytest.mark.parametrize(
    "value", [0, {"x": 0.5}, {"x": 0, "y": 1}, {"x": True, "y": 1}, {"x": "0.5", "y": 1}, {"x": 1, "y": 1e9}]
)
def test_a_size_that_is_none_is_refused_by_name(probe_app: App, value: object) -> None:
    (found,) = predictions(probe_app, instance(encode(tissue()), extensions={"source_um_per_px": value}))

    assert found["error"]["code"] == "INVALID_REQUEST_FIELD_ERROR"
    assert "source_um_per_px" in found["error"]["description"]


def test_another_model_has_another_range() -> None:
    settings: dict[str, object] = {
        GUARD: "refuse",
        "PATHSERVE_MAGNIFICATION_FINEST_UM": "0.25",
        "PATHSERVE_MAGNIFICATION_COARSEST_UM": "0.25",
        "PATHSERVE_MAGNIFICATION_TOLERANCE": "0",
    }
    fine, right = spaced(0.00025), spaced(0.0005)
    with App(settings) as app, Store(fine, right) as store:
        passed, refused = predictions(app, asked_of(store, fine), asked_of(store, right))

    assert "result" in passed
    assert refused["error"]["code"] == "MAGNIFICATION_ERROR"


def test_a_client_is_told_of_warnings_and_provenance(warning: App) -> None:
    data = encode(tissue())
    with ServedApp(warning) as served, PathserveClient(served.url, max_patches=1) as client:
        images = [
            Image.of_bytes(data, [(0, 0), (1, 2)], source_um_per_px={"x": 0.25, "y": 0.25}, provenance=True),
            Image.of_bytes(data, [(0, 0)], source_um_per_px={"x": 0.5, "y": 0.5}),
        ]
        fine, right = client.outcomes(images)

    assert isinstance(fine, Embeddings)
    assert isinstance(right, Embeddings)
    assert fine.magnification is not None
    assert fine.magnification.um_per_px == (0.25, 0.25)
    assert fine.provenance is not None
    assert fine.provenance["version"] == 1
    assert (right.magnification, right.provenance) == (None, None)
    assert np.isfinite(fine.vectors).all()
