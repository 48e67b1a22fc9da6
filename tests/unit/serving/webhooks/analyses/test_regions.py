from __future__ import annotations

import math
import re

import numpy as np
import pytest
from shapely import Polygon

from serving.webhooks.analyses import regions
from serving.webhooks.analyses.errors import AnalysisError
from tests.support.lattice import lattice

NAN, INF = math.nan, math.inf


def comb(teeth: int, *, upright: bool) -> list[tuple[float, float]]:
    """Return a ring of long thin teeth, which crosses itself nowhere."""
    ring = []
    for tooth in range(teeth):
        ring += [
            (0.0, tooth * 40.0),
            (20_000.0, tooth * 40.0),
            (20_000.0, tooth * 40.0 + 9),
            (0.0, tooth * 40.0 + 9),
        ]
    ring += [(-10.0, teeth * 40.0), (-10.0, 0.0)]
    return [(y, x) for x, y in ring] if upright else ring


def random_line(points: int) -> list[tuple[float, float]]:
    return [(x, y) for x, y in np.random.default_rng(0).random((points, 2)) * 40_000]


def test_a_rectangle_may_be_drawn_to_any_side() -> None:
    drawn = [regions.rectangle(100, 50, -100, -50), regions.rectangle(0, 50, 100, -50)]
    assert all(region.equals(regions.rectangle(0, 0, 100, 50)) for region in drawn)


def test_both_halves_of_an_eight_are_inside() -> None:
    assert regions.polygon([(0, 0), (10, 10), (10, 0), (0, 10)]).area == 50


def test_a_line_that_goes_round_twice_encloses_all() -> None:
    turns = np.linspace(0, 4 * math.pi, 400)
    spiral = [((10 + t) * math.cos(t), (10 + t) * math.sin(t)) for t in turns]
    assert regions.centres_inside(np.array([[0, 0], [12, 0]], np.int64), 1, regions.polygon(spiral)).all()


def test_a_ring_may_be_closed_or_open() -> None:
    ring = [(0, 0), (9, 0), (9, 9), (0, 9)]
    assert regions.polygon(ring).equals(regions.polygon([*ring, ring[0]]))


def test_an_ellipse_has_its_area_and_its_axes() -> None:
    region = regions.ellipse(500, 300, 200, 100)
    assert region.area == pytest.approx(math.pi * 200 * 100, rel=2e-4)
    assert region.bounds == pytest.approx((300, 200, 700, 400))


def test_a_brush_leaves_out_what_was_erased() -> None:
    square, inner = [(0, 0), (30, 0), (30, 30), (0, 30)], [(10, 10), (20, 10), (20, 20), (10, 20)]
    region = regions.brush([square, [(25, 0), (60, 0), (60, 30), (25, 30)]], [inner])
    assert region.area == 60 * 30 - 100
    assert not regions.centres_inside(np.array([[14, 14]], np.int64), 2, region).any()


def test_regions_that_overlap_count_once() -> None:
    both = regions.union([regions.rectangle(0, 0, 10, 10), regions.rectangle(5, 0, 10, 10)])
    assert both.area == 150


def test_a_region_is_cut_to_the_slide() -> None:
    inside = regions.clip(regions.rectangle(-50, 900, 200, 200), 1000, 1000)
    assert inside.equals(regions.rectangle(0, 900, 150, 100))


@pytest.mark.parametrize(
    "corner", [(1000, 0), (-200, 0), (0, 5000)], ids=["touches the right", "left of it", "below it"]
)
def test_a_region_beside_the_slide_is_an_error_that_names_its_size(corner: tuple[int, int]) -> None:
    with pytest.raises(AnalysisError, match=r"outside of the slide of 1000x800 pixels"):
        regions.clip(regions.rectangle(*corner, 200, 200), 1000, 800)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: regions.rectangle(0, 0, 0, 10),
        lambda: regions.polygon([(0, 0), (1, 1)]),
        lambda: regions.polygon([(0, 0), (5, 5), (10, 10)]),
        lambda: regions.polygon([]),
        lambda: regions.ellipse(0, 0, 10, 0),
        lambda: regions.brush([]),
        lambda: regions.brush([[(0, 0), (9, 0), (9, 9)]], [[(-1, -1), (20, -1), (20, 20), (-1, 20)]]),
        lambda: regions.union([]),
    ],
)
def test_what_has_no_area_is_an_error(draw: object) -> None:
    assert callable(draw)
    with pytest.raises(AnalysisError, match=re.compile("no area")):
        draw()


@pytest.mark.parametrize(
    "draw",
    [
        lambda bad: regions.rectangle(bad, 0, 10, 10),
        lambda bad: regions.rectangle(0, 0, 10, bad),
        lambda bad: regions.polygon([(0, 0), (9, bad), (9, 9)]),
        lambda bad: regions.ellipse(0, 0, bad, 5),
        lambda bad: regions.brush([[(0, 0), (9, 0), (bad, 9)]]),
    ],
)
@pytest.mark.parametrize("bad", [NAN, INF, -INF, 1e9, -1e300])
def test_a_coordinate_that_is_not_finite_is_an_error(draw: object, bad: float) -> None:
    assert callable(draw)
    with pytest.raises(AnalysisError, match="not a number"):
        draw(bad)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: regions.polygon(random_line(4000)),
        lambda: regions.brush([comb(100, upright=True), comb(100, upright=False)]),
        lambda: regions.brush([comb(100, upright=True)], [comb(100, upright=False)]),
        lambda: regions.union([regions.polygon(comb(100, upright=upright)) for upright in (True, False)]),
        lambda: regions.union(
            [regions.rectangle(0, 9 * n, 9000, 4) for n in range(200)]
            + [regions.rectangle(9 * n, 0, 4, 9000) for n in range(200)]
        ),
    ],
    ids=["at random", "two combs", "a comb erased by one", "a union of combs", "a lattice"],
)
def test_lines_that_cross_without_end_are_refused_and_not_worked_on(draw: object) -> None:
    assert callable(draw)
    with pytest.raises(AnalysisError, match="cross more than 2,000 times"):
        draw()


def test_more_points_than_can_be_looked_at_are_refused() -> None:
    with pytest.raises(AnalysisError, match="has 9,000 points, and at most 5,000"):
        regions.polygon(random_line(9000))


def test_a_line_by_hand_has_as_many_points_and_crossings_as_it_likes() -> None:
    turns = np.linspace(0, 2 * math.pi, 30_000)
    shaky = 5000 + np.random.default_rng(0).random(len(turns)) * 0.5
    around = [(float(x), float(y)) for x, y in zip(shaky * np.cos(turns), shaky * np.sin(turns), strict=True)]
    assert regions.polygon(around).area == pytest.approx(math.pi * 5000**2, rel=0.001)
    assert regions.brush([around, [(0, 0), (9000, 0), (9000, 9)]]).area > math.pi * 5000**2
    assert regions.polygon(random_line(70)).is_valid
    assert regions.polygon(comb(2000, upright=True)).is_valid


def test_squares_are_of_any_number() -> None:
    patches = lattice(60, 50, side=448.5)
    assert regions.centres_inside(patches.origins, 448.5, regions.squares(patches.origins, 449)).all()


def test_a_patch_is_inside_by_its_centre() -> None:
    patches = lattice(4, 1, side=100, at=(0, 0))
    inside = regions.centres_inside(patches.origins, 100, regions.rectangle(60, 0, 200, 100))
    assert inside.tolist() == [False, True, True, False]


def test_what_has_no_area_is_left_out_of_a_geometry() -> None:
    crossing = Polygon([(0, 0), (10, 0), (10, 10), (0, 10)]).intersection(
        Polygon([(10, 0), (20, 0), (20, 9)])
    )
    assert regions.polygonal(crossing).is_empty


def test_points_beyond_a_region_are_moved_to_its_nearest_pixel_and_others_are_left() -> None:
    region = regions.union([regions.rectangle(0, 0, 100, 60), regions.rectangle(500, 0, 10, 10)])
    points = np.array([(224, 224), (50, 30), (100, 60), (490, 5)], np.int64)
    assert regions.moved_into(points, region).tolist() == [[100, 60], [50, 30], [100, 60], [500, 5]]
    assert regions.moved_into(points[:0], region).shape == (0, 2)
