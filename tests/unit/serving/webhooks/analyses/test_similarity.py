from __future__ import annotations

import numpy as np
import pytest

from serving.webhooks.analyses import regions
from serving.webhooks.analyses.errors import AnalysisError
from serving.webhooks.analyses.patches import Patches
from serving.webhooks.analyses.similarity import find_similar, similarity
from tests.support.lattice import embeddings_of, lattice

KINDS = np.repeat([0, 1, 2, 1, 0], 20)
PATCHES = lattice(20, 5)
EMBEDDINGS = embeddings_of(KINDS)


@pytest.mark.parametrize("subtract_mean", [True, False])
def test_the_exemplar_has_the_highest_score_and_its_kind_the_next(subtract_mean: bool) -> None:
    scores = similarity(EMBEDDINGS, EMBEDDINGS[45:46], subtract_mean=subtract_mean)
    assert scores.dtype == np.float32
    assert scores.argmax() == 45
    assert scores[45] == pytest.approx(1)
    assert scores[KINDS == 2].min() > scores[KINDS != 2].max()


def test_scores_are_cosines_to_the_mean_of_the_exemplars() -> None:
    wanted = EMBEDDINGS[40:43].astype(np.float64).mean(axis=0)
    exact = EMBEDDINGS @ wanted / np.linalg.norm(EMBEDDINGS, axis=1) / np.linalg.norm(wanted)
    assert np.allclose(similarity(EMBEDDINGS, EMBEDDINGS[40:43], subtract_mean=False), exact, atol=1e-6)


def test_what_all_tissue_shares_counts_for_nothing() -> None:
    stain = np.full(16, 40, np.float32)
    assert similarity(EMBEDDINGS + stain, EMBEDDINGS[45:46] + stain, subtract_mean=False).min() > 0.9
    shifted = similarity(EMBEDDINGS + stain, EMBEDDINGS[45:46] + stain)
    assert np.allclose(shifted, similarity(EMBEDDINGS, EMBEDDINGS[45:46]), atol=1e-4)


@pytest.mark.parametrize("factor", [1e-30, 1e-6, 1e6, 1e30])
def test_scores_do_not_depend_on_the_scale_of_the_vectors(factor: float) -> None:
    scaled = EMBEDDINGS * np.float32(factor)
    assert np.allclose(
        similarity(scaled, scaled[45:46]), similarity(EMBEDDINGS, EMBEDDINGS[45:46]), atol=1e-5
    )


def test_the_vectors_given_are_not_changed() -> None:
    before = EMBEDDINGS.copy()
    similarity(EMBEDDINGS, EMBEDDINGS[:1])
    assert (before == EMBEDDINGS).all()


@pytest.mark.parametrize("subtract_mean", [True, False])
@pytest.mark.parametrize(
    ("vectors", "exemplars"),
    [
        (np.zeros((5, 4), np.float32), np.zeros((1, 4), np.float32)),
        (np.zeros((5, 4), np.float32), np.ones((1, 4), np.float32)),
        (np.ones((5, 4), np.float32), np.zeros((2, 4), np.float32)),
    ],
)
def test_a_vector_without_a_direction_scores_nought(
    vectors: np.ndarray, exemplars: np.ndarray, subtract_mean: bool
) -> None:
    assert (similarity(vectors, exemplars, subtract_mean=subtract_mean) == 0).all()


def test_a_slide_of_one_kind_scores_nought_and_not_its_rounding() -> None:
    vector = np.random.default_rng(0).normal(size=16).astype(np.float32)
    alike = np.tile(vector, (50, 1))
    assert (similarity(alike, alike[:2]) == 0).all()


@pytest.mark.parametrize(
    ("vectors", "exemplars", "says"),
    [
        (EMBEDDINGS, EMBEDDINGS[:0], "no exemplar"),
        (EMBEDDINGS, np.ones((1, 8), np.float32), "different encoders"),
        (np.full((2, 4), np.nan, np.float32), np.ones((1, 4), np.float32), "2 of 2 patches"),
        (np.ones((2, 4), np.float32), np.full((1, 4), np.inf, np.float32), "1 of 1 exemplars"),
    ],
)
def test_what_cannot_be_compared_is_an_error_in_words(
    vectors: np.ndarray, exemplars: np.ndarray, says: str
) -> None:
    with pytest.raises(AnalysisError, match=says):
        similarity(vectors, exemplars)


def test_the_best_become_points_and_one_outline_and_all_a_heat_map() -> None:
    found = find_similar(PATCHES, EMBEDDINGS, EMBEDDINGS[45:46], top=20)
    assert set(found.best.tolist()) == set(range(40, 60)), "the row of its kind"
    assert found.best[0] == 45
    assert found.points[0].tolist() == [1000 + 5 * 448 + 224, 2000 + 2 * 448 + 224]
    (row,) = found.polygons
    assert list(row.bounds) == [1000, 2000 + 2 * 448, 1000 + 20 * 448, 2000 + 3 * 448]
    assert found.heat.values.shape == (5, 20)
    assert found.heat.values.argmax() == 2 * 20 + 5


def test_patches_that_are_excluded_keep_their_score_and_are_not_among_the_best() -> None:
    exclude = np.zeros(100, bool)
    exclude[45] = True
    found = find_similar(PATCHES, EMBEDDINGS, EMBEDDINGS[45:46], top=5, exclude=exclude)
    assert found.scores.argmax() == 45
    assert 45 not in found.best
    assert len(found.points) == 5


def test_where_all_are_excluded_nothing_is_found() -> None:
    found = find_similar(PATCHES, EMBEDDINGS, EMBEDDINGS[:1], exclude=np.ones(100, bool))
    assert not found.polygons
    assert (found.best.shape, found.points.shape) == ((0,), (0, 2))


def test_the_order_of_the_patches_changes_nothing() -> None:
    tied = np.repeat(EMBEDDINGS[:10], 10, axis=0)
    order = np.random.default_rng(3).permutation(100)
    straight = find_similar(PATCHES, tied, tied[:1], top=7)
    shuffled = find_similar(Patches(PATCHES.origins[order], PATCHES.side), tied[order], tied[:1], top=7)
    assert straight.points.tolist() == shuffled.points.tolist()
    assert straight.polygons == shuffled.polygons
    assert (straight.heat.values == shuffled.heat.values).all()


def test_polygons_are_cut_to_the_region() -> None:
    region = regions.rectangle(1000, 2000, 20 * 448, 3 * 448 - 100)
    found = find_similar(PATCHES, EMBEDDINGS, EMBEDDINGS[45:46], region=region)
    assert all(region.covers(polygon) for polygon in found.polygons)
