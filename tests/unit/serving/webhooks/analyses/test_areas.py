from __future__ import annotations

import numpy as np
import pytest
import shapely
from shapely import Polygon

from serving.webhooks.analyses import regions
from serving.webhooks.analyses.areas import areas, outline, without_holes
from tests.support.lattice import lattice

LEGEND = [(f"kind {number}", "#112233") for number in range(5)]


@pytest.mark.parametrize("side", [448.0, 447.83, 56.4])
def test_areas_cover_their_patches_exactly_and_each_other_nowhere(side: float) -> None:
    patches = lattice(40, 30, side=side)
    labels = np.random.default_rng(1).integers(0, 5, len(patches))
    found = areas(patches, labels, LEGEND)
    columns, rows = patches.edges
    whole = int(columns[-1] - columns[0]) * int(rows[-1] - rows[0])
    polygons = [polygon for area in found for polygon in area.polygons]
    assert sum(polygon.area for polygon in polygons) == whole
    assert shapely.union_all(polygons).area == whole
    assert all(polygon.is_valid for polygon in polygons)
    assert [area.patches for area in found] == np.bincount(labels).tolist()
    assert sum(area.share for area in found) == pytest.approx(1)


def test_corners_are_whole_pixels_and_only_corners_are_given() -> None:
    patches = lattice(20, 10, side=447.83)
    (whole,) = outline(patches, np.ones(len(patches), bool))
    coordinates = shapely.get_coordinates(whole)
    assert len(coordinates) == 5
    assert (coordinates == np.rint(coordinates)).all()


def test_the_order_of_the_patches_changes_nothing() -> None:
    patches = lattice(15, 15)
    labels = np.random.default_rng(2).integers(0, 5, len(patches))
    order = np.random.default_rng(3).permutation(len(patches))
    shuffled = type(patches)(patches.origins[order], patches.side)
    assert areas(patches, labels, LEGEND) == areas(shuffled, labels[order], LEGEND)


def test_a_kind_without_a_patch_has_no_polygon() -> None:
    found = areas(lattice(3, 3), np.full(9, 2), LEGEND)
    assert [len(area.polygons) for area in found] == [0, 0, 1, 0, 0]
    assert found[0].share == 0


def test_polygons_end_where_the_region_ends() -> None:
    patches = lattice(30, 30, side=100, at=(0, 0))
    region = regions.ellipse(1500, 1500, 1200, 900)
    inside = regions.centres_inside(patches.origins, 100, region)
    within = type(patches)(patches.origins[inside], 100)
    found = areas(within, np.random.default_rng(4).integers(0, 5, len(within)), LEGEND, region)
    polygons = [polygon for area in found for polygon in area.polygons]
    assert all(region.buffer(1).covers(polygon) and polygon.is_valid for polygon in polygons)
    assert (shapely.get_coordinates(polygons) % 1 == 0).all()
    assert sum(polygon.area for polygon in polygons) > 0.95 * region.area


def test_without_holes_is_the_same_area_and_has_none() -> None:
    patches = lattice(31, 17, side=447.83)
    chosen = np.ones(len(patches), bool)
    chosen[np.flatnonzero((patches.cells[:, 0] % 3 == 1) & (patches.cells[:, 1] % 3 == 1))] = False
    (holed,) = outline(patches, chosen)
    assert len(holed.interiors) == 50
    cut = without_holes([holed])
    assert not any(polygon.interiors for polygon in cut)
    assert all(polygon.is_valid for polygon in cut)
    assert sum(polygon.area for polygon in cut) == holed.area
    assert shapely.union_all(cut).symmetric_difference(holed).area == 0
    assert (shapely.get_coordinates(cut) % 1 == 0).all()


@pytest.mark.parametrize(
    "hole",
    [
        [(4, 4), (5, 4), (5, 5), (4, 5)],
        [(4, 5), (5, 4), (6, 5), (5, 6)],
        [(4.2, 4.2), (4.4, 4.2), (4.3, 4.4)],
    ],
    ids=["a pixel wide", "on its corner", "within a pixel"],
)
def test_holes_of_any_shape_are_opened(hole: list[tuple[float, float]]) -> None:
    holed = Polygon([(0, 0), (10, 0), (10, 10), (0, 10)], [hole])
    cut = without_holes([holed])
    assert not any(polygon.interiors for polygon in cut)
    assert sum(polygon.area for polygon in cut) == pytest.approx(holed.area)


def test_a_polygon_without_a_hole_stays_as_it_is() -> None:
    (plain,) = without_holes([Polygon([(0, 0), (10, 0), (10, 10)])])
    assert plain.equals(Polygon([(0, 0), (10, 0), (10, 10)]))
