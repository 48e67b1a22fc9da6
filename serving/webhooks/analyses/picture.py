"""A picture of a region under its heat map."""

from __future__ import annotations

from dicom_io.geometry import Rect, UInt8Array
from serving.webhooks.analyses.heatmap import HeatMap


def under_heat_map(pixels: UInt8Array, shown: Rect, heat: HeatMap, opacity: float = 0.45) -> bytes:
    """Return a PNG of a region with its heat map over it, in the colours of Turbo.

    Parameters
    ----------
    pixels:
        uint8 RGB ``[height, width, 3]`` at any scale.
    shown:
        What ``pixels`` shows, in level-0 pixels.
    opacity:
        Of the heat map, 0 to 1; where it has no patch, it is clear.
    """
    raise NotImplementedError
