"""What a user can mend, and the check that all analyses share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


class AnalysisError(Exception):
    """An analysis cannot be made of what was given; the text says why and what to do, for a user to read."""


def require_finite(vectors: npt.NDArray[np.float32], what: str) -> None:
    """Raise AnalysisError where a number is not finite: one NaN would spread to every result."""
    faulty = int((~np.isfinite(vectors).all(axis=1)).sum())
    if faulty:
        raise AnalysisError(f"{faulty} of {len(vectors)} {what} hold numbers that are not finite.")
