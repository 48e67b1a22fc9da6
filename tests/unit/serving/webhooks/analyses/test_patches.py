from __future__ import annotations

import numpy as np
import pytest

from serving.webhooks.analyses.patches import Patches
from tests.support.lattice import lattice


def test_patches_of_a_fraction_of_a_pixel_lie_on_one_lattice_whatever_was_rounded() -> None:
    patches = lattice(90, 70, side=447.83, at=(1000.4, 2000.7))
    columns, rows = patches.edges
    assert patches.cells.max(axis=0).tolist() == [89, 69]
    assert len(columns) == 91
    assert len(rows) == 71
    assert (columns[:-1] == patches.origins[:90, 0]).all(), "an edge is where its patches are"
    assert columns[-1] == round(1000.4 + 90 * 447.83)


def test_a_lattice_with_another_scale_on_each_axis_does_not_drift() -> None:
    column, row = np.meshgrid(np.arange(200), np.arange(200))
    places = np.stack([column.ravel() * 448.05, row.ravel() * 447.95], axis=1)
    patches = Patches(np.rint(places).astype(np.int64), 448.0)
    assert patches.cells[-1].tolist() == [199, 199]
    assert abs(int(patches.edges[0][-1]) - 200 * 448.05) <= 1
    assert abs(int(patches.edges[1][-1]) - 200 * 447.95) <= 1


def test_a_side_that_is_rounded_does_not_add_up_over_a_slide() -> None:
    whole = lattice(300, 4, side=448.4, at=(0, 0))
    patches = Patches(whole.origins, 448)
    assert patches.cells.max(axis=0).tolist() == [299, 3]
    assert patches.edges[0][-2] == round(299 * 448.4)


def test_a_row_of_the_lattice_without_a_patch_has_its_place() -> None:
    patches = Patches(np.array([[0, 0], [0, 20], [50, 20]], np.int64), 10)
    assert patches.cells.tolist() == [[0, 0], [0, 2], [5, 2]]
    assert patches.edges[0].tolist() == [0, 10, 20, 30, 40, 50, 60]
    assert patches.edges[1].tolist() == [0, 10, 20, 30]


def test_patches_that_overlap_stand_for_the_cells_around_their_centres() -> None:
    patches = lattice(3, 1, side=100, at=(0, 0), step=50)
    assert patches.edges[0].tolist() == [25, 75, 125, 175]
    assert patches.edges[1].tolist() == [25, 75]
    assert patches.centres[:, 0].tolist() == [50, 100, 150]


@pytest.mark.parametrize(
    ("origins", "side", "says"),
    [
        (np.zeros((0, 2), np.int64), 10, "no patch"),
        (np.zeros((2, 3), np.int64), 10, "not int64"),
        (np.zeros((2, 2), np.float64), 10, "not int64"),
        (np.zeros(2, np.int64), 10, "not int64"),
        (np.zeros((1, 2), np.int64), 0, "no patches"),
        (np.zeros((1, 2), np.int64), float("nan"), "no patches"),
    ],
)
def test_what_is_no_list_of_patches_is_refused(origins: np.ndarray, side: float, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Patches(origins, side)


@pytest.mark.parametrize(("second", "says"), [((15, 0), "one lattice"), ((0, 0), "one place")])
def test_patches_beside_the_lattice_or_on_one_place_are_refused(second: tuple[int, int], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        _ = Patches(np.array([(0, 0), second], np.int64), 10).cells
