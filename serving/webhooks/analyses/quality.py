"""Measures of a slide's quality: how blurred a patch is, and where a pen has marked the glass."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dicom_io.geometry import UInt8Array
from serving.webhooks.analyses.patches import BoolArray

_REBLUR = 11
"""Pixels over which a patch is blurred again to see what that takes away."""

_GREEN_HUES, _LEAST_GREEN = (70, 200), 70
_BLUE_HUES, _LEAST_BLUE = (200, 250), 150
_DARKEST, _MOST_OF_BLACK, _LEAST_LIGHTNESS = 90, 70, 10
_LEAST_SHARE = 2e-5


def blur_effect(pixels: UInt8Array) -> float:
    """Return how blurred pixels are, from 0 (sharp) to 1.

    A sharp picture loses much of its edges when it is blurred once more, a blurred one loses little: this is
    the share of them that is left. It hardly depends on what is shown or how strongly it is stained. (Crété
    and others, The Blur Effect, SPIE 6492, 2007; with Sobel's edges along the rows or the columns, whichever
    are more blurred.)

    Parameters
    ----------
    pixels:
        uint8 RGB ``[height, width, 3]``, at least 12 pixels each way.
    """
    gray = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY).astype(np.float32)
    return max(_left_along(gray, (1, 0)), _left_along(gray, (0, 1)))


def _left_along(gray: npt.NDArray[Any], axis: tuple[int, int]) -> float:
    across, down = axis
    window = (_REBLUR if across else 1, _REBLUR if down else 1)
    edges = np.abs(cv2.Sobel(gray, cv2.CV_32F, across, down))
    left = np.abs(cv2.Sobel(cv2.blur(gray, window), cv2.CV_32F, across, down))
    inner = (slice(2, -2), slice(2, -2))  # at the border, pixels are made up
    whole = float(edges[inner].sum(dtype=np.float64))
    lost = float(np.maximum(edges - left, 0)[inner].sum(dtype=np.float64))
    return 1.0 - lost / whole if whole > 0 else 1.0


def pen_mask(pixels: UInt8Array) -> BoolArray:
    """Return where an overview shows ink of a pen: green, strong blue or black, in strokes and no specks.

    Red ink is not told from eosin, nor is faint ink from a stain.

    Parameters
    ----------
    pixels:
        The whole slide, uint8 RGB ``[rows, columns, 3]``.

    Returns
    -------
    bool ``[rows, columns]``
    """
    hsv = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2HSV)
    hue, saturation, value = hsv[..., 0].astype(np.int32) * 2, hsv[..., 1], hsv[..., 2]
    lit = value >= _LEAST_LIGHTNESS  # what is darker was not scanned
    green = _between(hue, _GREEN_HUES) & (saturation >= _LEAST_GREEN)
    blue = _between(hue, _BLUE_HUES) & (saturation >= _LEAST_BLUE)
    black = (value <= _DARKEST) & (saturation <= _MOST_OF_BLACK)
    ink = cv2.morphologyEx(
        (lit & (green | blue | black)).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)
    )
    _, labels, facts, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    large = facts[:, cv2.CC_STAT_AREA] >= max(9.0, _LEAST_SHARE * ink.size)
    large[0] = False  # what is not ink
    return np.asarray(large[labels], np.bool_)


def _between(hue: npt.NDArray[Any], hues: tuple[int, int]) -> BoolArray:
    return np.asarray((hue >= hues[0]) & (hue < hues[1]), np.bool_)
