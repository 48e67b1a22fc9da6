"""What images of tests say that their patches have been made of, and what to leave out to compare results."""

from __future__ import annotations

import re

from dicom_io.geometry import Sampling
from dicom_io.made_of import ColourReading, ImageIdentity, Reading
from dicom_io.resampling import Resampling


def plain_reading(sampling: Sampling) -> Reading:
    """Return the reading of pixels that are as they are."""
    return Reading(
        identity=ImageIdentity("image", "numbers"),
        sampling=sampling,
        resampling=Resampling.NONE,
        resizer=None,
        colour=ColourReading(None),
        scaled_by_caller=False,
        require_inside=True,
        decoders=(),
    )


def timeless(value: object) -> str:
    """Return a result as text, without the times at which its vectors were made."""
    return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", "", repr(value))
