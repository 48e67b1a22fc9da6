from __future__ import annotations

import numpy as np
import pytest

from serving.heads.head import Head
from serving.webhooks.analyses.errors import AnalysisError
from serving.webhooks.heads.classes import classify
from tests.support.lattice import lattice

HEAD = Head(
    name="tumour",
    classes=("tumour", "stroma", "other"),
    colours=("#FF0000", "#00FF00", "#0000FF"),
    weights=np.eye(3, 4, dtype=np.float32) * 3,
    bias=np.array([0, 0.5, 0], np.float32),
    um_per_px=0.5,
    encoder_digest="sha256:1",
)
VECTORS = np.eye(3, 4, dtype=np.float32)[[0, 0, 1, 1, 1, 0]]


def test_each_patch_has_a_class_and_each_class_an_area() -> None:
    found = classify(lattice(3, 2), VECTORS, HEAD)
    assert found.labels.tolist() == [0, 0, 1, 1, 1, 0]
    assert [(area.name, area.colour, area.patches) for area in found.areas] == [
        ("tumour", "#FF0000", 3),
        ("stroma", "#00FF00", 3),
        ("other", "#0000FF", 0),
    ]
    assert found.areas[0].polygons[0].area == 2 * 448**2
    assert found.areas[2].polygons == ()


def test_probabilities_are_the_softmax() -> None:
    found = classify(lattice(3, 2), VECTORS, HEAD)
    powers = np.exp(VECTORS @ HEAD.weights.T + HEAD.bias)
    assert np.allclose(found.probabilities, powers / powers.sum(axis=1, keepdims=True))
    assert found.probabilities.dtype == np.float32


def test_large_numbers_do_not_overflow() -> None:
    probabilities = HEAD.probabilities(np.array([[1e30, -1e30, 0, 0], [0, 0, 0, 0]], np.float32))
    assert np.isfinite(probabilities).all()
    assert probabilities[0].tolist() == [1, 0, 0]


def test_embeddings_of_another_dimension_are_refused() -> None:
    with pytest.raises(AnalysisError, match='head "tumour" is for vectors of 4 numbers; the encoder makes 5'):
        classify(lattice(2, 1), np.zeros((2, 5), np.float32), HEAD)


def test_numbers_that_are_not_finite_are_refused() -> None:
    with pytest.raises(AnalysisError, match="not finite"):
        classify(lattice(1, 1), np.full((1, 4), np.nan, np.float32), HEAD)
