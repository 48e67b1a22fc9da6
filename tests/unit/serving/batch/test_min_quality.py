from __future__ import annotations

import numpy as np
import pytest

from dicom_io.quality.measures import Measure
from serving.batch.min_quality import bounds, ordered
from serving.batch.quality import good_enough


def test_bounds_are_read_and_put_in_order() -> None:
    assert bounds("blur=0.6, Tissue=.5") == {"blur": 0.6, "tissue": 0.5}
    assert ordered([bounds("pen=0,tissue=1"), bounds("tissue=0.25")]) == (("tissue", 0.25), ("pen", 0.0))
    assert ordered([]) == ()


@pytest.mark.parametrize(
    "text", ["", "tissue", "tissue=", "tissue=2", "blur=-0.1", "sharp=0.5", "blur=nan", "0.5"]
)
def test_what_is_no_bound_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="one of tissue, blur"):
        bounds(text)


def test_more_tissue_and_less_blur_are_good_enough_and_what_failed_is_kept() -> None:
    quality = np.zeros((5, len(Measure)), np.float32)
    tissue, blur = [*Measure].index(Measure.TISSUE), [*Measure].index(Measure.BLUR)
    quality[:, tissue] = [0.5, 0.49, 1, 1, np.nan]
    quality[:, blur] = [0.6, 0.1, 0.61, 0, np.nan]
    kept = good_enough(quality, (("tissue", 0.5), ("blur", 0.6)))
    assert kept.tolist() == [True, False, False, True, True]
    assert good_enough(quality, ()).all()
