"""Errors of single patches: what is wrong with one costs its own row, and nothing else."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from serving.client import Image, PathserveClient
from serving.errors import Fault
from serving.pipeline.outcome import Embeddings
from tests.support.app import App, ServedApp
from tests.support.asking import ask, cut, predictions
from tests.support.models import POISON, TOLERANCE, probe
from tests.support.predicting import patch
from tests.support.slides import CODINGS, Slide, pyramid, stained
from tests.support.store import Answer, Behaviour, Request, Store
from tests.support.tissue import UInt8Array, encode, instance, tissue

EACH: dict[str, Any] = {"per_patch_errors": True}
OUTSIDE, SIZE = "PATCH_OUTSIDE_OF_IMAGE_DIMENSIONS_ERROR", "INCOMPATIBLE_PATCH_DIMENSIONS_ERROR"
GRID = [(x, y) for y in range(0, 673, 112) for x in range(0, 877, 112)]


def rows_of(prediction: dict[str, Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = prediction["result"]["patch_embeddings"]
    return rows


def codes(rows: list[dict[str, Any]]) -> list[str | None]:
    assert all(("error" in row) != ("embedding_vector" in row) for row in rows)
    return [row["error"]["code"] if "error" in row else None for row in rows]


def assert_right(rows: list[dict[str, Any]], truth: list[UInt8Array]) -> None:
    """Hold that each row without an error has the vector of its patch."""
    good = [index for index, row in enumerate(rows) if "error" not in row]
    np.testing.assert_allclose(
        [rows[index]["embedding_vector"] for index in good],
        probe(np.stack([truth[index] for index in good])),
        atol=TOLERANCE,
    )


def touches(origin: tuple[int, int], tile: tuple[int, int], side: int = 256) -> bool:
    """Return whether a patch touches a tile of a grid, given by its column and row."""
    return all(
        at < (number + 1) * side and number * side < at + 224 for at, number in zip(origin, tile, strict=True)
    )


def test_a_patch_outside_or_of_another_size_costs_its_own_row(probe_app: App) -> None:
    origins = [(0, 0), (289, 0), (7, 9), (-1, 0), (2**62, 0)]
    sent = instance(encode(tissue()), *origins, extensions=EACH)
    coordinates: Any = sent["patch_coordinates"]
    coordinates.append({"x_origin": 3, "y_origin": 4, "width": 256, "height": 224})
    whole, other = predictions(probe_app, sent, instance(encode(tissue()), (1, 1)))
    rows = rows_of(whole)
    assert codes(rows) == [None, OUTSIDE, None, OUTSIDE, OUTSIDE, SIZE]
    assert rows[5]["patch_coordinate"] == {"x_origin": 3, "y_origin": 4, "width": 256, "height": 224}
    assert all(0 < len(row["error"]["description"]) <= 1024 for row in rows if "error" in row)
    assert_right(rows, [patch(tissue(), *origins[n]) if n in (0, 2) else tissue() for n in range(6)])
    assert_right(rows_of(other), [patch(tissue(), 1, 1)])


@pytest.mark.parametrize("wrong", [None, 5, {"x_origin": 1}, {"x_origin": "a", "y_origin": 0}])
def test_what_names_no_patch_at_all_is_its_instances_error(probe_app: App, wrong: object) -> None:
    sent = instance(encode(tissue()), (0, 0), extensions=EACH)
    coordinates: Any = sent["patch_coordinates"]
    coordinates.append(wrong)
    (found,) = predictions(probe_app, sent)
    assert found["error"]["code"] == "INVALID_REQUEST_FIELD_ERROR"


def test_patches_that_all_fail_still_have_their_rows(probe_app: App) -> None:
    sent = instance(encode(tissue()), (289, 0), (0, 289), extensions=EACH)
    (found,) = predictions(probe_app, sent)
    assert codes(rows_of(found)) == [OUTSIDE, OUTSIDE]


@pytest.mark.parametrize("data", [b"not an image", encode(tissue())[:5000], encode(tissue(), "JPEG")[:5000]])
def test_an_image_that_cannot_be_decoded_is_its_instances_error(probe_app: App, data: bytes) -> None:
    (found,) = predictions(probe_app, instance(data, (0, 0), (1, 1), extensions=EACH))
    assert found["error"]["code"] == "IMAGE_ERROR"


def test_the_plain_answer_stays_as_it_is(probe_app: App) -> None:
    asked = instance(encode(tissue()), (0, 0), (1, 1))
    each = asked | {"extensions": EACH}
    plain, same = predictions(probe_app, asked, each)
    assert plain == same
    failed = instance(encode(tissue()), (0, 0), (289, 0), extensions={"per_patch_errors": False})
    assert predictions(probe_app, failed)[0]["error"]["code"] == OUTSIDE


def test_a_patch_that_the_model_cannot_embed_costs_its_own_row(probe_app: App) -> None:
    pixels = tissue().copy()
    pixels[100, 100, 0] = POISON
    origins = [(0, 0), (100, 100), (50, 60), (120, 30)]
    (found,) = predictions(probe_app, instance(encode(pixels), *origins, extensions=EACH))
    rows = rows_of(found)
    assert codes(rows) == [None, "IMAGE_ERROR", None, None]
    assert_right(rows, [patch(pixels, *origin) for origin in origins])


@pytest.mark.parametrize("coding", ["JPEG", "JPEG 2000 lossless", "JPEG-LS"])
def test_frames_that_cannot_be_decoded_cost_the_patches_that_touch_them(probe_app: App, coding: str) -> None:
    slide = Slide()
    (level,) = slide.add_level(stained(1100, 900), CODINGS[coding])
    level.frames[6] = level.frames[6][: len(level.frames[6]) // 3]
    with Store(slide) as store:
        (found,) = predictions(probe_app, ask(store, slide, [level.uid], *GRID, **EACH))
    rows = rows_of(found)
    assert codes(rows) == ["DICOM_ERROR" if touches(origin, (1, 1)) else None for origin in GRID]
    assert_right(rows, cut(level.truth, *GRID))


@pytest.mark.parametrize("status", [404, 500])
def test_frames_that_the_store_does_not_have_cost_the_patches_that_touch_them(
    probe_app: App, status: int
) -> None:
    slide = pyramid("explicit", [(1100, 900)])
    (level,) = slide.instances

    def without_the_seventh(request: Request) -> Answer | None:
        asked = re.search(r"/frames/([0-9,]+)", request.path)
        return (status, {}, b"") if asked and "7" in asked.group(1).split(",") else None

    with Store(slide, behaviour=Behaviour(override=without_the_seventh)) as store:
        (found,) = predictions(probe_app, ask(store, slide, [level.uid], *GRID, **EACH))
        (plain,) = predictions(probe_app, ask(store, slide, [level.uid], *GRID))
    rows = rows_of(found)
    assert codes(rows) == ["HTTP_ERROR" if touches(origin, (1, 1)) else None for origin in GRID]
    assert_right(rows, cut(level.truth, *GRID))
    assert plain["error"]["code"] == "HTTP_ERROR"


def test_a_store_that_has_failed_is_not_asked_for_every_frame_again(probe_app: App) -> None:
    slide = pyramid("explicit", [(4000, 3600)])
    (level,) = slide.instances
    origins = [(x, y) for y in range(0, 3376, 256) for x in range(0, 3776, 256)]

    def down(request: Request) -> Answer | None:
        return (410, {}, b"") if "/frames/" in request.path else None

    with Store(slide, behaviour=Behaviour(override=down)) as store:
        (found,) = predictions(probe_app, ask(store, slide, [level.uid], *origins, **EACH))
        assert set(codes(rows_of(found))) == {"HTTP_ERROR"}
        assert len(store.frame_requests()) < 40


def test_rows_that_failed_are_counted_by_their_codes(served_app: ServedApp) -> None:
    name = f'pathserve_patch_errors_total{{code="{OUTSIDE}"}}'
    before = served_app.metrics()
    sent = instance(encode(tissue()), (0, 0), (289, 0), (300, 0), extensions=EACH)
    assert served_app.predict(sent).status_code == 200
    after = served_app.metrics()
    assert after[name] - before.get(name, 0) == 2
    assert after["pathserve_patches_total"] - before["pathserve_patches_total"] == 1
    lines = [line for line in served_app.app.log_lines() if "patch_codes" in line]
    assert lines[-1]["patch_codes"] == {OUTSIDE: 2}


def test_the_client_puts_rows_of_several_requests_together(served_app: ServedApp) -> None:
    origins = [(n, n) if n % 7 else (289 + n, 0) for n in range(40)]
    image = Image.of_bytes(encode(tissue()), origins, **EACH)
    lost = Image.of_bytes(encode(tissue()), [(289, 0)], **EACH)
    with PathserveClient(served_app.url, max_patches=9) as client:
        whole, none = client.outcomes([image, lost])
        vectors, _ = client.embed([image, lost])
    assert isinstance(whole, Embeddings)
    assert isinstance(none, Embeddings)
    failed = [n for n in range(40) if n % 7 == 0]
    assert {n: fault.code for n, fault in whole.faults.items()} == dict.fromkeys(failed, OUTSIDE)
    good = [n for n in range(40) if n not in failed]
    expected = probe(np.stack([patch(tissue(), *origins[n]) for n in good]))
    np.testing.assert_allclose(whole.vectors[good], expected, atol=TOLERANCE)
    assert np.isnan(whole.vectors[failed]).all()
    assert not isinstance(vectors, Fault)
    np.testing.assert_array_equal(vectors, whole.vectors)
    assert none.vectors.shape == (1, 384)
    assert np.isnan(none.vectors).all()
