"""How blurred pixels are."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dicom_io.geometry import UInt8Array

_REBLUR = 11
"""Pixels over which a picture is blurred again to see what that takes away."""


def blur_effect(pixels: UInt8Array, every: int = 1) -> float:
    """Return how blurred pixels are, from 0 (sharp) to 1.

    A sharp picture loses much of its edges when it is blurred once more, a blurred one loses little: this is
    the share of them that is left. It hardly depends on what is shown or how strongly it is stained. (Crété
    and others, The Blur Effect, SPIE 6492, 2007; with Sobel's edges along the rows or the columns, whichever
    are more blurred, as scikit-image's ``blur_effect``.)

    Parameters
    ----------
    pixels:
        uint8 RGB ``[height, width, 3]``, at least 15 pixels each way.
    every:
        Only one row, and one column, in so many is looked at.
    """
    gray = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)
    return max(_left(_smooth(gray, every)), _left(_smooth(cv2.transpose(gray), every)))


def _smooth(gray: npt.NDArray[Any], every: int) -> npt.NDArray[np.int16]:
    """Return some of a picture's rows as columns, each with its neighbours, 1 : 2 : 1, as Sobel has it."""
    last = gray.shape[0] - 2
    above, here, below = (gray[at : last + at : every].astype(np.int16) for at in range(3))
    here += here
    here += above
    here += below
    return np.asarray(cv2.transpose(here), np.int16)  # neighbours in a row are whole rows of memory now


def _left(smooth: npt.NDArray[np.int16]) -> float:
    """Return the share of edges down columns that is left when these are blurred by a box of 11 pixels.

    The difference of two neighbours in a blurred column is that of the two pixels which the box gains and
    loses, by its width: so nothing has to be blurred. All is in whole numbers, eleven times their size.
    """
    edges = smooth[2:] - smooth[:-2]
    edges = np.abs(edges[_REBLUR // 2 : -(_REBLUR // 2)]) * np.int16(_REBLUR)
    pairs = smooth[1:] + smooth[:-1]
    again = np.abs(pairs[_REBLUR:] - pairs[:-_REBLUR])
    whole = cv2.norm(edges, cv2.NORM_L1)
    return cv2.norm(np.minimum(edges, again), cv2.NORM_L1) / whole if whole > 0 else 1.0
