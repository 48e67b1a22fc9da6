from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from serving.webhooks.analyses.clusters import cluster, cluster_labels
from serving.webhooks.analyses.errors import AnalysisError
from tests.support.lattice import embeddings_of, lattice

KINDS = np.repeat([3, 0, 1, 0, 2, 0, 1], 30)
PATCHES = lattice(30, 7)
EMBEDDINGS = embeddings_of(KINDS)


def test_each_kind_of_tissue_is_a_cluster_and_the_largest_comes_first() -> None:
    labels = cluster_labels(PATCHES.origins, EMBEDDINGS, 4)
    assert labels.dtype == np.int64
    # Kinds 3 and 2 have as many patches; 3 is met first from the top.
    assert [set(labels[kind == KINDS].tolist()) for kind in (0, 1, 3, 2)] == [{0}, {1}, {2}, {3}]


@pytest.mark.parametrize("k", [2, 5, 12])
def test_labels_do_not_depend_on_the_order_of_the_rows(k: int) -> None:
    vectors = np.random.default_rng(0).normal(size=(210, 16)).astype(np.float32)
    straight = cluster_labels(PATCHES.origins, vectors, k)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(210)
        shuffled = cluster_labels(PATCHES.origins[order], vectors[order], k)
        assert (shuffled == straight[order]).all()
    sizes = np.bincount(straight, minlength=k)
    assert sizes.min() > 0
    assert (np.diff(sizes) <= 0).all()


def test_labels_are_the_same_in_another_process_with_other_threads() -> None:
    code = (
        "import numpy as np; from serving.webhooks.analyses.clusters import cluster_labels;"
        "from tests.support.lattice import lattice;"
        "v = np.random.default_rng(0).normal(size=(2000, 64)).astype(np.float32);"
        "print(cluster_labels(lattice(50, 40).origins, v, 7).tobytes().hex())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "PYTHONPATH": "."},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2", "4")
    }
    assert len(found) == 1


def test_areas_have_names_colours_and_shares() -> None:
    found = cluster(PATCHES, EMBEDDINGS, 4)
    assert [area.name for area in found.areas] == ["Cluster 1", "Cluster 2", "Cluster 3", "Cluster 4"]
    assert len({area.colour for area in found.areas}) == 4
    assert [area.patches for area in found.areas] == [90, 60, 30, 30]
    assert [len(area.polygons) for area in found.areas] == [3, 2, 1, 1]


def test_twelve_clusters_have_twelve_colours() -> None:
    found = cluster(PATCHES, np.random.default_rng(0).normal(size=(210, 16)).astype(np.float32), 12)
    assert len({area.colour for area in found.areas}) == 12


@pytest.mark.parametrize("k", [-1, 0, 1, 13])
def test_a_number_of_clusters_out_of_range_is_refused(k: int) -> None:
    with pytest.raises(AnalysisError, match="choose 2 to 12"):
        cluster_labels(PATCHES.origins, EMBEDDINGS, k)


def test_fewer_patches_than_clusters_are_refused_in_words() -> None:
    with pytest.raises(AnalysisError, match="5 patches cannot be put into 8 clusters; choose fewer"):
        cluster_labels(PATCHES.origins[:5], EMBEDDINGS[:5], 8)


def test_fewer_kinds_of_patches_than_clusters_are_refused_in_words() -> None:
    alike = np.tile(EMBEDDINGS[:3], (70, 1))
    with pytest.raises(AnalysisError, match="3 kinds of patches cannot be put into 4 clusters"):
        cluster_labels(PATCHES.origins, alike, 4)


def test_a_number_that_is_not_finite_is_refused_in_words() -> None:
    vectors = EMBEDDINGS.copy()
    vectors[7, 3] = np.nan
    with pytest.raises(AnalysisError, match="1 of 210 patches hold numbers that are not finite"):
        cluster_labels(PATCHES.origins, vectors, 4)
