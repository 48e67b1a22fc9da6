"""Which patches are good enough to be kept."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dicom_io.quality.measures import LESS_IS_BETTER, Measure
from serving.batch.min_quality import Bounds


def good_enough(quality: npt.NDArray[np.float32], wanted: Bounds) -> npt.NDArray[np.bool_]:
    """Return which patches meet all bounds, or have not been measured, as those that failed.

    Parameters
    ----------
    quality:
        float32 ``[patches, measures]``.
    """
    good = np.ones(len(quality), np.bool_)
    for name, value in wanted:
        measure = Measure(name)
        found, bound = quality[:, [*Measure].index(measure)], np.float32(value)
        good &= ~(found > bound) if measure in LESS_IS_BETTER else ~(found < bound)
    return good
