"""Instances that name slides in a store, and what is asked of the answers."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.support.app import Predicts
from tests.support.models import TOLERANCE, probe
from tests.support.slides import Slide
from tests.support.store import Store
from tests.support.tissue import UInt8Array, encode, instance, tissue

CORNERS = ((0, 0), (776, 476), (200, 130), (300, 476))
"""Patches of a 1000x700 level: upper left, lower right, across four tiles, across the lower edge."""


def ask(
    store: Store,
    slide: Slide,
    uids: list[str],
    *origins: tuple[int, int],
    token: str | None = None,
    path: str | None = None,
    **extensions: object,
) -> dict[str, object]:
    """Return an instance that names a level of a slide."""
    asked: dict[str, object] = {
        "dicom_path": {"series_path": path or store.series_path(slide), "instance_uids": uids},
        "patch_coordinates": [
            {"x_origin": x, "y_origin": y, "width": 224, "height": 224} for x, y in (origins or [(0, 0)])
        ],
        "extensions": extensions,
    }
    if token is not None:
        asked["bearer_token"] = token
    return asked


def predictions(service: Predicts, *instances: object) -> list[dict[str, Any]]:
    response = service.predict(*instances)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["predictions"]
    return found


def error(service: Predicts, asked: object) -> dict[str, str]:
    """Return the error of an instance between two good ones that must stay good."""
    good = instance(encode(tissue()[:224, :224]))
    first, second, third = predictions(service, good, asked, good)
    assert "result" in first
    assert "result" in third
    assert "error" in second, second["result"]["patch_embeddings"][0]["patch_coordinate"]
    found: dict[str, str] = second["error"]
    assert 0 < len(found["description"]) <= 1024
    return found


def code_of(service: Predicts, asked: object) -> str:
    return error(service, asked)["code"]


def assert_pixels(
    service: Predicts, asked: dict[str, object], truth: list[UInt8Array], tolerance: float = 0
) -> None:
    (prediction,) = predictions(service, asked)
    assert "result" in prediction, prediction
    found = [e["embedding_vector"] for e in prediction["result"]["patch_embeddings"]]
    np.testing.assert_allclose(found, probe(np.stack(truth)), atol=TOLERANCE + tolerance / 255, rtol=0)


def cut(truth: UInt8Array, *origins: tuple[int, int]) -> list[UInt8Array]:
    """Cut patches out of a level's truth; outside is black."""
    framed = np.pad(truth, ((500, 500), (500, 500), (0, 0)))
    return [framed[500 + y : 724 + y, 500 + x : 724 + x] for x, y in origins]
