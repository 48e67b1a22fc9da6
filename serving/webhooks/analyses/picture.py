"""A picture of a region under its heat map."""

from __future__ import annotations

import cv2
import numpy as np

from dicom_io.geometry import Rect, UInt8Array
from serving.webhooks.analyses.heatmap import LOWEST, HeatMap
from serving.webhooks.analyses.patches import Int64Array


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
    height, width = pixels.shape[:2]
    rows = _cells(height, shown.y, shown.height, heat.y, heat.size)
    columns = _cells(width, shown.x, shown.width, heat.x, heat.size)
    # A border of cells without a patch stands for all that is beyond the map.
    values = np.pad(heat.values, 1)
    rows = np.clip(rows + 1, 0, values.shape[0] - 1)
    columns = np.clip(columns + 1, 0, values.shape[1] - 1)
    over = values[np.ix_(rows, columns)]
    colours = cv2.applyColorMap(over, cv2.COLORMAP_TURBO)
    picture = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2BGR)
    mixed = cv2.addWeighted(picture, 1 - opacity, colours, opacity, 0)
    _, png = cv2.imencode(".png", np.where((over >= LOWEST)[:, :, np.newaxis], mixed, picture))
    return png.tobytes()


def _cells(count: int, start: int, length: int, first: int, size: int) -> Int64Array:
    """Return the heat map's cell at the centre of each of a picture's ``count`` pixels along an axis."""
    places = start + (np.arange(count) + 0.5) * (length / count)
    return np.floor((places - first) / size).astype(np.int64)
