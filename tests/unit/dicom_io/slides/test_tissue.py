"""Where tissue is."""

from __future__ import annotations

import numpy as np
import pytest

from dicom_io.geometry import Patch
from dicom_io.slides.tissue import TissueMap, tissue_mask
from tests.benchmarks import tissue as comparison
from tests.support.tissue import tissue


def test_stained_tissue_is_tissue_and_glass_is_not() -> None:
    glass = np.full((512, 300, 3), (243, 241, 244), np.uint8)
    mask = tissue_mask(np.concatenate([tissue(), glass], axis=1))
    assert mask[:, :512].mean() > 0.6  # there is glass between its cells, too
    assert not mask[:, 512:].any()


@pytest.mark.parametrize("light", [(1.0, 1.0, 1.0), (0.8, 0.8, 0.8), (0.99, 0.98, 0.88)])
def test_glass_is_what_is_lightest_in_any_light(light: tuple[float, float, float]) -> None:
    glass = np.full((512, 300, 3), (243, 241, 244), np.uint8)
    slide = np.concatenate([tissue(), glass], axis=1)
    mask = tissue_mask((slide * np.array(light)).astype(np.uint8))
    assert not mask[:, 512:].any()
    assert mask[:, :512].mean() > 0.5


def test_every_case_of_the_comparison_is_won_or_even_but_for_faint_stains() -> None:
    for case in comparison.cases():
        ours, otsu = (comparison.score(case, rule) for rule in (tissue_mask, comparison.otsu_of_saturation))
        if case.name == "faint IHC":
            assert ours.missed < 0.4
        elif case.name != "black pen":
            assert (ours.missed, ours.in_vain) <= (otsu.missed, otsu.in_vain), case.name


def test_black_surroundings_are_not_tissue_but_dark_pigment_is() -> None:
    assert not tissue_mask(np.zeros((4, 4, 3), np.uint8)).any()
    assert tissue_mask(np.full((4, 4, 3), (60, 58, 59), np.uint8)).all()


def test_a_map_is_read_at_its_own_scale() -> None:
    mask = np.zeros((10, 20), bool)
    mask[2:4, 6:9] = True  # pixels (600..900, 200..400) of 2000x1000
    found = TissueMap(mask, 2000, 1000)
    assert found.share(Patch(600, 200, 300, 200)) == 1
    assert found.share(Patch(600, 200, 600, 200)) == 0.5
    assert found.share(Patch(0, 0, 224, 224)) == 0
    assert found.share(Patch(1999, 999, 224, 224)) == 0
    assert TissueMap(np.ones((1, 1), bool), 5000, 5000).share(Patch(4000, 4000, 224, 224)) == 1
