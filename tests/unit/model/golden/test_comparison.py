"""Which vectors are reproduced, and how that is said."""

from __future__ import annotations

import numpy as np
import pytest

from model.golden.comparison import BETWEEN_CPUS, TOLERANCES, Tolerance, compared, tolerance_of

NAMES = ("a", "b", "c")
VECTORS = np.random.RandomState(0).standard_normal((3, 50)).astype(np.float32)
TOLERANCE = Tolerance(0.9999, 0.1)


def test_vectors_that_are_the_same_are_reproduced_and_the_sentence_says_which_is_furthest_off() -> None:
    actual = VECTORS.copy()
    actual[1, 7] += 0.01
    found = compared(NAMES, VECTORS, actual, TOLERANCE)
    assert found.reproduced
    assert (found.patch, found.missed, found.patches) == ("b", 0, 3)
    assert str(found).startswith("3 golden patches are reproduced; furthest off is b: cosine 0.9999")


def test_a_number_that_is_off_is_seen_where_the_cosine_hides_it() -> None:
    vectors = np.random.RandomState(1).standard_normal((3, 5000)).astype(np.float32)
    actual = vectors.copy()
    actual[2, 7] += 0.5
    found = compared(NAMES, vectors, actual, TOLERANCE)
    assert found.cosine > TOLERANCE.cosine
    assert found.difference == pytest.approx(0.5, rel=0.05)
    assert str(found).startswith("1 golden patch is not reproduced; furthest off is c: cosine 0.9999")
    assert str(found).endswith("largest difference 0.5 of its root mean square (at most 0.1 allowed)")


def test_a_vector_that_is_longer_throughout_is_seen_though_its_direction_is_right() -> None:
    found = compared(NAMES, VECTORS, 1.2 * VECTORS, TOLERANCE)
    assert found.missed == 3
    assert found.cosine == pytest.approx(1.0)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_a_vector_that_is_not_finite_is_the_furthest_off(number: float) -> None:
    actual = VECTORS + np.float32(1.0)
    actual[1, 3] = number
    found = compared(NAMES, VECTORS, actual, TOLERANCE)
    assert (found.patch, found.cosine, found.difference) == ("b", 0.0, np.inf)
    assert str(found) == "3 of 3 golden patches are not reproduced; b has no finite vector"
    assert found.figures() == {"patch": "b", "cosine": 0.0, "difference": None}


def test_a_vector_of_zeros_is_missed() -> None:
    found = compared(NAMES, VECTORS, 0 * VECTORS, TOLERANCE)
    assert (found.cosine, found.missed) == (0.0, 3)


def test_a_patch_with_several_rows_is_missed_once() -> None:
    names = ["a", "b", "c", "a", "b", "c"]
    actual = np.concatenate([VECTORS, VECTORS])
    actual[4] = -actual[4]
    found = compared(names, np.concatenate([VECTORS, VECTORS]), actual, TOLERANCE)
    assert (found.patch, found.missed, found.patches) == ("b", 1, 3)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (("float32", "CPU"), ("float32", "CPU"), BETWEEN_CPUS),
        (("float32", "CPU"), ("float32", "GPU: NVIDIA L4"), TOLERANCES["float32"]),
        (("float32", "CPU"), ("bfloat16", "CPU"), TOLERANCES["bfloat16"]),
        (("int8", "CPU"), ("bfloat16", "CPU"), TOLERANCES["int8"]),
    ],
)
def test_the_tolerance_is_that_of_the_least_exact(
    one: tuple[str, str], other: tuple[str, str], expected: Tolerance
) -> None:
    assert tolerance_of(one, other) == tolerance_of(other, one) == expected
