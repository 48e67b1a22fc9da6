"""What images of tests say that their patches have been made of."""

from __future__ import annotations

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
