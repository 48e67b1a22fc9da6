"""Which patches an analysis is made of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import MultiPoint

from dicom_io.geometry import Rect
from serving.webhooks.analyses import regions
from serving.webhooks.analyses.errors import AnalysisError
from serving.webhooks.slidescore.client import SlideFacts, TileGrid
from serving.webhooks.slidescore.plan import exemplar_origins, lattice, overview_level, shows_tissue, whole
from serving.webhooks.slidescore.scale import Scale, scale_of

FACTS = SlideFacts(8000, 6000, 0.25)
GRID = TileGrid(254, 1)
SCALE = scale_of(FACTS, GRID, 0.5)


def test_a_whole_slide_of_100000_by_80000_pixels_has_about_40000_patches() -> None:
    facts = SlideFacts(100_000, 80_000, 0.25)
    origins = lattice(whole(facts), facts, scale_of(facts, GRID, 0.5))
    assert len(origins) == (100_000 // 448) * (80_000 // 448) == 39_694


@given(
    x=st.floats(-500, 8500), y=st.floats(-500, 6500), w=st.floats(1, 9000), h=st.floats(1, 9000),
    um=st.sampled_from([0.25, 0.37, 0.5, 1.3]),
)  # fmt: skip
def test_patches_lie_in_the_region_on_one_lattice_that_begins_at_a_pixel_of_their_level(
    x: float, y: float, w: float, h: float, um: float
) -> None:
    scale = scale_of(FACTS, GRID, um)
    try:
        region = regions.clip(regions.rectangle(x, y, w, h), FACTS.width, FACTS.height)
    except AnalysisError:
        return
    origins = lattice(region, FACTS, scale)
    left, top, right, bottom = region.bounds
    assert len(origins) >= 1
    assert (origins >= 0).all()
    assert (origins + scale.side <= (FACTS.width, FACTS.height)).all()
    if len(origins) > 1:
        steps = (origins - origins[0]) % scale.side
        assert (steps == 0).all()
    for axis, (first, last) in enumerate(((left, right), (top, bottom))):
        if last - first >= scale.side + scale.level.shrunk:
            assert (origins[:, axis] >= first - 1).all()
            assert (origins[:, axis] + scale.side <= last + 1).all()
            assert origins[:, axis].min() % scale.level.shrunk == 0


def test_a_slide_smaller_than_a_patch_has_one() -> None:
    facts = SlideFacts(100, 50, 0.25)
    assert lattice(whole(facts), facts, scale_of(facts, GRID, 0.5)).tolist() == [[0, 0]]


def test_a_thin_line_between_centres_has_the_nearest_patch() -> None:
    region = regions.polygon([(1000, 1000), (3000, 1000), (3000, 1002)])
    assert len(lattice(region, FACTS, SCALE)) >= 1


@pytest.mark.parametrize(
    "thin",
    [(1000, 0, 4480, 60), (1000, 5950, 4480, 90), (0, 1000, 50, 4480), (7960, 1000, 100, 4480)],
)
def test_a_thin_region_at_the_slides_edge_has_patches_along_all_of_it(
    thin: tuple[int, int, int, int],
) -> None:
    region = regions.clip(regions.rectangle(*thin), FACTS.width, FACTS.height)
    origins = lattice(region, FACTS, SCALE)
    assert len(origins) == 10
    assert (origins >= 0).all()
    assert (origins + SCALE.side <= (FACTS.width, FACTS.height)).all()


@pytest.mark.parametrize(
    ("point", "origin"), [((1000, 1000), [776, 776]), ((0, 0), [0, 0]), ((7999, 5999), [7552, 5552])]
)
def test_an_exemplar_point_is_the_middle_of_its_patch_moved_into_the_slide(
    point: tuple[int, int], origin: list[int]
) -> None:
    assert exemplar_origins(MultiPoint([point]), FACTS, SCALE).tolist() == [origin]


def test_exemplar_points_outside_of_the_slide_are_left_out_unless_all_are() -> None:
    assert len(exemplar_origins(MultiPoint([(-5, 5), (500, 500)]), FACTS, SCALE)) == 1
    with pytest.raises(AnalysisError, match="outside"):
        exemplar_origins(MultiPoint([(-5, 5), (9000, 5)]), FACTS, SCALE)


def test_a_region_of_millions_of_places_is_refused_before_they_are_made() -> None:
    facts = SlideFacts(1 << 21, 1 << 21, 0.25)
    with pytest.raises(AnalysisError, match="patches"):
        lattice(whole(facts), facts, scale_of(facts, GRID, 0.25))


@pytest.mark.parametrize(
    ("width", "height"), [(100_000, 80_000), (2048, 10), (2049, 10), (10, 5), (5, 200_000)]
)
def test_tissue_is_looked_for_on_the_largest_level_that_is_small_enough(width: int, height: int) -> None:
    level = overview_level(SlideFacts(width, height, 0.25), GRID)
    assert max(level.width, level.height) <= 2048
    assert level.halvings == 0 or max(level.width, level.height) > 1024


def test_squares_show_tissue_by_their_own_part_of_the_overview() -> None:
    overview = np.full((100, 100, 3), 245, np.uint8)
    overview[:, 50:] = (150, 60, 120)
    scale: Scale = SCALE
    origins = np.array([[0, 0], [1600, 0], [3200, 1600]], np.int64)
    shown = Rect(50, 0, 100, 100)  # of a level whose pixels are 32 level-0 pixels wide
    assert shows_tissue(origins + np.array([1600, 0]), scale, overview, shown, 32).tolist() == [
        False,
        True,
        True,
    ]
