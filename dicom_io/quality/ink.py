"""Which colours are those of a pen's ink."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from dicom_io.geometry import UInt8Array

_INKS = (
    ((35, 70, 10), (99, 255, 255)),  # green
    ((100, 150, 10), (124, 255, 255)),  # blue
    ((0, 0, 10), (180, 70, 90)),  # black
)
"""The least and the most hue, saturation and value of each; what has a value below 10 was not scanned."""


def is_ink(hsv: UInt8Array) -> npt.NDArray[np.bool_]:
    """Return which pixels have the colour of a pen's ink: green, strong blue or black.

    Red ink is not told from eosin, nor is faint ink from a stain.

    Parameters
    ----------
    hsv:
        uint8 HSV ``[rows, columns, 3]`` as OpenCV has it, hues in half degrees.

    Returns
    -------
    bool ``[rows, columns]``
    """
    green, blue, black = (np.asarray(cv2.inRange(hsv, *ink), np.uint8) for ink in _INKS)
    return np.asarray((green | blue | black) != 0, np.bool_)
