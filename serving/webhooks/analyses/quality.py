"""Measures of a slide's quality: where a pen has marked the glass."""

from __future__ import annotations

import cv2
import numpy as np

from dicom_io.geometry import UInt8Array
from dicom_io.quality.ink import is_ink
from serving.webhooks.analyses.patches import BoolArray

_LEAST_SHARE = 2e-5


def pen_mask(pixels: UInt8Array) -> BoolArray:
    """Return where an overview shows ink of a pen, as ``is_ink`` tells it, in strokes and no specks.

    Parameters
    ----------
    pixels:
        The whole slide, uint8 RGB ``[rows, columns, 3]``.

    Returns
    -------
    bool ``[rows, columns]``
    """
    colours = is_ink(np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2HSV), np.uint8))
    ink = cv2.morphologyEx(colours.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, labels, facts, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    large = facts[:, cv2.CC_STAT_AREA] >= max(9.0, _LEAST_SHARE * ink.size)
    large[0] = False  # what is not ink
    return np.asarray(large[labels], np.bool_)
