"""The guard's judgement of sizes of pixels, on both axes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_io.geometry import Sampling, Spacing
from serving.pipeline.magnification import MagnificationRange, Verdict, judge


def as_stored(x: float, y: float | None = None, side: int = 10_000) -> Sampling:
    return Sampling(side, side, Spacing(x, x if y is None else y), side, side)


@pytest.mark.parametrize(
    ("um", "verdict"),
    [
        (0.25, Verdict.TOO_FINE),  # 40x
        (0.4537, Verdict.INSIDE),  # Hamamatsu's 20x
        (0.5, Verdict.INSIDE),
        (0.5022, Verdict.INSIDE),  # Leica's and Aperio's 20x
        (1.0, Verdict.INSIDE),
        (1.8148, Verdict.INSIDE),  # Hamamatsu's 5x
        (2.0, Verdict.INSIDE),
        (2.2, Verdict.INSIDE),
        (4.0, Verdict.TOO_COARSE),  # 2.5x
    ],
)
def test_what_scanners_call_5x_to_20x_passes_and_nothing_else(um: float, verdict: Verdict) -> None:
    assert judge(as_stored(um)).verdict is verdict


@pytest.mark.parametrize(
    ("x", "y", "verdict"), [(0.5, 0.25, Verdict.TOO_FINE), (2.5, 1.0, Verdict.TOO_COARSE)]
)
def test_either_axis_may_be_wrong(x: float, y: float, verdict: Verdict) -> None:
    found = judge(as_stored(x, y))

    assert found.verdict is verdict
    assert f"{x:g} x {y:g} µm" in found.description


def test_an_unknown_size_is_said_to_be_unknown() -> None:
    found = judge(Sampling(1000, 1000, None, 500, 500))

    assert (found.verdict, found.spacing) == (Verdict.UNKNOWN, None)
    assert "Nothing says" in found.description


def test_what_is_judged_is_the_size_after_the_resize() -> None:
    finer = Spacing(0.25, 0.25)

    assert judge(Sampling(2000, 1000, finer, 1000, 500)).verdict is Verdict.INSIDE
    assert judge(Sampling(2000, 1000, finer, 200, 100)).verdict is Verdict.TOO_COARSE


def test_a_resize_that_spoils_a_good_level_is_to_be_left_out() -> None:
    found = judge(Sampling(2000, 1000, Spacing(0.5, 0.5), 8000, 4000))

    assert found.verdict is Verdict.TOO_FINE
    assert found.instead.startswith("Leave out extensions.image_dimensions")


def test_a_level_that_is_too_coarse_is_not_to_be_enlarged() -> None:
    assert "adds no detail" in judge(as_stored(4.0)).instead


def test_a_level_that_cannot_be_shrunk_so_far_is_not_to_be_resized() -> None:
    assert "image_dimensions" not in judge(as_stored(0.06)).instead


SIDES = st.integers(224, 200_000)
FINE = st.floats(0.063, 0.43)


@given(SIDES, SIDES, FINE, st.floats(0.9, 1.1))
def test_the_size_that_is_suggested_passes(width: int, height: int, um: float, ratio: float) -> None:
    stored = Spacing(um, um * ratio)
    found = judge(Sampling(width, height, stored, width, height))
    suggested = re.search(r"width_px (\d+) and height_px (\d+)", found.instead)

    if suggested is None:
        too_small = min(width, height) * um * min(1, ratio) / 0.5 < 225
        assert min(stored.x, stored.y) * 8 < 0.5 or too_small
    else:
        asked = Sampling(width, height, stored, int(suggested[1]), int(suggested[2]))
        assert judge(asked).verdict is Verdict.INSIDE
        assert max(width / asked.width, height / asked.height) <= 8


def test_another_model_has_another_range() -> None:
    assert judge(as_stored(0.25), MagnificationRange(0.25, 0.5, 0.1)).verdict is Verdict.INSIDE
