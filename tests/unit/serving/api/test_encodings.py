from __future__ import annotations

import numpy as np
import pytest

from model.encoder import Vectors
from serving.api.encodings import Encoding, beyond, coded, decoded
from tests.support.encodings import cosine_error, error_bound

ROUNDING = (Encoding.BASE64_FLOAT16, Encoding.BASE64_INT8)
RANDOM = np.random.default_rng(7)
FLOAT32_ROUNDING = 1e-7
"""Of the scale, and of the product with it."""


def spikes() -> Vectors:
    """One number far above the others, which is the worst for one scale a vector."""
    vectors = RANDOM.standard_normal((200, 384)).astype(np.float32)
    vectors[:, 17] = np.geomspace(1, 6e4, 200)
    return vectors


@pytest.mark.parametrize("encoding", ROUNDING)
@pytest.mark.parametrize(
    "vectors",
    [
        RANDOM.standard_normal((1000, 384)).astype(np.float32),
        spikes(),
        RANDOM.standard_normal((100, 384)).astype(np.float32) * np.float32(1e-5),
        RANDOM.uniform(0.49, 0.51, (100, 384)).astype(np.float32),
        RANDOM.standard_normal((100, 1)).astype(np.float32),
    ],
    ids=["Gaussian", "spikes", "tiny", "nearly the same numbers", "one number"],
)
def test_no_vector_turns_by_more_than_is_promised(encoding: Encoding, vectors: Vectors) -> None:
    found = decoded(coded(vectors, encoding))
    assert (cosine_error(vectors, found) <= error_bound(vectors, encoding) + FLOAT32_ROUNDING).all()


def test_int8_never_errs_by_more_than_half_a_step_whatever_the_vector() -> None:
    vectors = spikes()
    written = coded(vectors, Encoding.BASE64_INT8)
    assert written.scales is not None
    off = np.abs(decoded(written).astype(np.float64) - vectors).max(axis=1)
    assert (off <= written.scales / 2 * (1 + 1e-4)).all()
    assert cosine_error(vectors, decoded(written)).max() < 0.003, "what the documents promise of 384 numbers"


def test_a_vector_and_its_negative_are_written_alike() -> None:
    vectors = spikes()
    there, back = coded(vectors, Encoding.BASE64_INT8), coded(-vectors, Encoding.BASE64_INT8)
    np.testing.assert_array_equal(decoded(there), -decoded(back))


@pytest.mark.parametrize("encoding", Encoding)
def test_a_vector_of_zeros_and_no_vectors_at_all_come_back_as_they_are(encoding: Encoding) -> None:
    for vectors in (np.zeros((3, 4), np.float32), np.zeros((0, 4), np.float32)):
        np.testing.assert_array_equal(decoded(coded(vectors, encoding)), vectors)


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_does_not_come_back_as_if_it_were(encoding: Encoding, number: float) -> None:
    vectors = np.ones((2, 4), np.float32)
    vectors[1, 2] = number
    assert beyond(vectors, encoding) == []
    found = decoded(coded(vectors, encoding))
    np.testing.assert_array_equal(found[0], 1)
    assert not np.isfinite(found[1, 2])


def test_what_float16_cannot_hold_is_found_and_nothing_else() -> None:
    vectors = np.array([[65504, 0], [65505, 0], [-1e9, np.nan], [np.inf, 3]], np.float32)
    assert beyond(vectors, Encoding.BASE64_FLOAT16) == [1, 2]
    assert beyond(vectors, Encoding.BASE64_INT8) == []
    found = decoded(coded(vectors[:1], Encoding.BASE64_FLOAT16))
    assert found[0, 0] == 65504


@pytest.mark.parametrize("encoding", Encoding)
def test_an_encoding_may_be_named_without_its_base64(encoding: Encoding) -> None:
    assert Encoding(encoding.removeprefix("base64-")) is encoding
    for unknown in (f"{encoding}-", "base64-", "", "FLOAT16"):
        with pytest.raises(ValueError, match="not a valid"):
            Encoding(unknown)
