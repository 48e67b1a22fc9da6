from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dicom_io.resampling import resample, resize, taps
from tests.support.tissue import tissue


@given(st.integers(60, 300), st.integers(60, 300), st.integers(0, 30), st.integers(0, 30))
def test_a_part_is_what_the_whole_resized_image_has_there(width: int, height: int, x: int, y: int) -> None:
    image = tissue()[:90, :110]
    rows, columns = taps(y, 30, height, 90), taps(x, 30, width, 110)
    part = image[rows.first : rows.last + 1, columns.first : columns.last + 1]
    whole = resize(image, width, height)
    difference = np.abs(resample(part, rows, columns).astype(int) - whole[y : y + 30, x : x + 30])
    # Two axes in one step here, one after the other and rounded in between there.
    assert difference.max() <= (1 if width >= 110 and height >= 90 else 2)


@given(st.integers(1, 500), st.integers(1, 500))
def test_weights_sum_to_one(resized: int, source: int) -> None:
    made = taps(0, resized, resized, source)
    np.testing.assert_allclose(made.weight.sum(axis=1), 1, atol=1e-5)
    assert made.first >= 0
    assert made.last < source
