"""Patches that are asked for, and the vectors of an answer."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.support.app import Predicts
from tests.support.tissue import UInt8Array


def patch(pixels: UInt8Array, x: int, y: int) -> UInt8Array:
    return pixels[y : y + 224, x : x + 224]


def vectors(prediction: dict[str, Any]) -> np.ndarray:
    embeddings = prediction["result"]["patch_embeddings"]
    return np.array([e["embedding_vector"] for e in embeddings], np.float32)


def embed(service: Predicts, *instances: dict[str, object]) -> list[np.ndarray]:
    response = service.predict(*instances)
    assert response.status_code == 200, response.text
    return [vectors(prediction) for prediction in response.json()["predictions"]]
