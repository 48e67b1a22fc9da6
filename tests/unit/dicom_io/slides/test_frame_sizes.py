from __future__ import annotations

import pytest

from dicom_io.slides.frame_sizes import FrameSizes


def test_nothing_is_said_of_a_syntax_in_which_nothing_came() -> None:
    assert FrameSizes().bytes_a_pixel("1.2.3") is None


def test_the_mean_is_by_syntax_and_by_pixel() -> None:
    sizes = FrameSizes()
    sizes.add("jpeg", 1000, 10_000)
    sizes.add("jpeg", 2000, 10_000)
    sizes.add("native", 30_000, 10_000)
    assert sizes.bytes_a_pixel("jpeg") == pytest.approx(0.15)
    assert sizes.bytes_a_pixel("native") == 3


def test_what_came_long_ago_counts_less_and_less() -> None:
    sizes = FrameSizes()
    for _ in range(200):
        sizes.add("jpeg", 3 << 20, 1 << 20)
    for _ in range(400):
        sizes.add("jpeg", 1 << 20, 1 << 20)
    assert sizes.bytes_a_pixel("jpeg") == pytest.approx(1, rel=0.05)


def test_syntaxes_that_a_store_makes_up_fill_no_memory() -> None:
    sizes = FrameSizes()
    for number in range(10_000):
        sizes.add(str(number), 1, 1)
    assert sum(sizes.bytes_a_pixel(str(number)) is not None for number in range(10_000)) == 64
