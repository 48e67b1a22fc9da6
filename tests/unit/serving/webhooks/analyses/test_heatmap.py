from __future__ import annotations

import numpy as np
import pytest
import shapely

from serving.webhooks.analyses import regions
from serving.webhooks.analyses.heatmap import HeatMap, contours, heat_map, mask_areas
from serving.webhooks.analyses.patches import Patches
from tests.support.lattice import lattice


def test_scores_become_bytes_and_no_patch_is_nought() -> None:
    patches = Patches(np.array([[0, 0], [100, 0], [200, 100], [0, 100]], np.int64), 100)
    heat = heat_map(patches, np.array([-1, 0.5, 1, 7], np.float32))
    assert heat.values.tolist() == [[1, 128, 0], [255, 0, 255]]
    assert heat.values.dtype == np.uint8
    assert (heat.x, heat.y, heat.size, heat.width, heat.height) == (0, 0, 100, 300, 200)


@pytest.mark.parametrize("side", [448.0, 447.5, 56.49, 1.0])
def test_its_size_is_its_cells_and_fractions_do_not_add_up(side: float) -> None:
    patches = lattice(150, 40, side=side, at=(300, 500))
    scores = np.random.default_rng(0).random(len(patches)).astype(np.float32)
    heat = heat_map(patches, scores)
    rows, columns = heat.values.shape
    assert (heat.height, heat.width) == (rows * heat.size, columns * heat.size)
    assert abs(heat.width - 150 * side) <= side
    for index in np.random.default_rng(1).integers(0, len(patches), 100):
        x, y = (patches.centres[index] - (heat.x, heat.y)) // heat.size
        near = heat.values[max(0, int(y) - 1) : int(y) + 2, max(0, int(x) - 1) : int(x) + 2]
        assert round(1 + 254 * float(scores[index])) in near


def test_one_patch_is_a_heat_map() -> None:
    heat = heat_map(lattice(1, 1), np.array([0.3], np.float32))
    assert heat.values.tolist() == [[77]]
    assert (heat.height, heat.size) == (448, 448)


@pytest.mark.parametrize(("low", "high"), [(1, 1), (1, 0), (float("nan"), 1)])
def test_no_range_of_scores_is_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="range"):
        heat_map(lattice(1, 1), np.zeros(1, np.float32), low, high)


def test_contours_lie_in_each_other_and_have_holes() -> None:
    values = np.full((9, 9), 90, np.uint8)
    values[2:7, 2:7] = 250
    values[4, 4] = 0
    found = contours(HeatMap(1000, 2000, 100, values), [200, 50])
    assert [contour.level for contour in found] == [50, 200]
    low, high = (contour.polygon for contour in found)
    assert all(polygon.is_valid and len(polygon.interiors) == 1 for polygon in (low, high))
    assert low.covers(high)
    assert low.centroid.coords[0] == pytest.approx((1450, 2450))
    # From the outermost centres of 250 at 200, towards those of 90: 200 is reached after 31 of 100 pixels.
    assert high.bounds == pytest.approx((1219, 2219, 1681, 2681), abs=1)


def test_contours_at_the_border_are_closed_and_cut_to_the_region() -> None:
    region = regions.rectangle(0, 0, 300, 200)
    found = contours(HeatMap(0, 0, 100, np.full((2, 3), 255, np.uint8)), [10, 250], region)
    assert all(region.covers(contour.polygon) for contour in found)
    assert found[0].polygon.area > found[1].polygon.area > 0


def test_a_level_that_is_not_reached_has_no_contour() -> None:
    assert contours(HeatMap(0, 0, 10, np.full((3, 3), 40, np.uint8)), [100]) == ()


def test_a_chessboard_has_only_valid_contours() -> None:
    values = (np.indices((20, 20)).sum(axis=0) % 2 * 255).astype(np.uint8)
    found = contours(HeatMap(0, 0, 64, values), [1, 64, 127.5, 200, 255])
    assert found
    assert shapely.is_valid([contour.polygon for contour in found]).all()


@pytest.mark.parametrize("level", [0, -1, 256, float("nan")])
def test_a_level_out_of_range_is_refused(level: float) -> None:
    with pytest.raises(ValueError, match="levels"):
        contours(HeatMap(0, 0, 10, np.ones((1, 1), np.uint8)), [level])


def test_the_areas_of_a_mask_are_where_it_is_on_the_slide_with_their_holes() -> None:
    mask = np.zeros((100, 200), np.bool_)
    mask[10:50, 20:90] = True
    mask[20:40, 40:60] = False
    mask[60:, 150:] = True
    ring, corner = sorted(mask_areas(mask, 2050, 1000), key=lambda area: area.bounds)
    assert ring.is_valid
    assert len(ring.interiors) == 1
    assert ring.area == pytest.approx((40 * 70 - 20 * 20) * 102.5, rel=0.05)
    assert ring.bounds == pytest.approx((205, 100, 922, 500), abs=12)
    assert corner.bounds == pytest.approx((1537, 600, 2050, 1000), abs=12)
    assert shapely.box(0, 0, 2050, 1000).covers(corner)
    assert mask_areas(np.zeros((5, 5), np.bool_), 100, 100) == ()
