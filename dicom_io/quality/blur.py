"""How blurred pixels are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dicom_io.geometry import UInt8Array

_REBLUR = 11
"""Pixels over which a picture is blurred again to see what that takes away."""


def blur_effect(pixels: UInt8Array) -> float:
    """Return how blurred pixels are, from 0 (sharp) to 1.

    A sharp picture loses much of its edges when it is blurred once more, a blurred one loses little: this is
    the share of them that is left. It hardly depends on what is shown or how strongly it is stained. (Crété
    and others, The Blur Effect, SPIE 6492, 2007; with Sobel's edges along the rows or the columns, whichever
    are more blurred, as scikit-image's ``blur_effect``.)

    Parameters
    ----------
    pixels:
        uint8 RGB ``[height, width, 3]``, at least 15 pixels each way.
    """
    return float(blur_effects([pixels], 1)[0])


def blur_effects(patches: Sequence[UInt8Array], every: int) -> npt.NDArray[np.float64]:
    """Return how blurred patches are, as ``blur_effect``, by some of their rows and columns.

    Parameters
    ----------
    patches:
        uint8 RGB ``[height, width, 3]`` each, of one size of at least 15 pixels each way.
    every:
        One row, and one column, in so many is looked at.

    Returns
    -------
    float64 ``[patches]``
    """
    grays = [cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY) for pixels in patches]
    turned = [cv2.transpose(gray) for gray in grays]
    return np.maximum(_left(_smooth(grays, every), len(patches)), _left(_smooth(turned, every), len(patches)))


def _smooth(grays: Sequence[npt.NDArray[Any]], every: int) -> npt.NDArray[np.int16]:
    """Return some of the pictures' rows as columns, each with its neighbours, 1 : 2 : 1, as Sobel has it."""
    last = grays[0].shape[0] - 2
    above, here, below = (
        np.concatenate([gray[at : last + at : every] for gray in grays]).astype(np.int16) for at in range(3)
    )
    here += here
    here += above
    here += below
    return np.asarray(cv2.transpose(here), np.int16)  # neighbours in a row are whole rows of memory now


def _left(smooth: npt.NDArray[np.int16], pictures: int) -> npt.NDArray[np.float64]:
    """Return the share of edges down columns that is left when these are blurred by a box of 11 pixels.

    The difference of two neighbours in a blurred column is that of the two pixels which the box gains and
    loses, by its width: so nothing has to be blurred. All is in whole numbers, eleven times their size.

    Parameters
    ----------
    smooth:
        As many columns of each picture, one picture beside the other.

    Returns
    -------
    float64 ``[pictures]``
    """
    edges = smooth[2:] - smooth[:-2]
    edges = np.abs(edges[_REBLUR // 2 : -(_REBLUR // 2)]) * np.int16(_REBLUR)
    pairs = smooth[1:] + smooth[:-1]
    again = np.abs(pairs[_REBLUR:] - pairs[:-_REBLUR])
    whole, left = (_sums(values, pictures) for values in (edges, np.minimum(edges, again)))
    return np.where(whole > 0, left / np.maximum(whole, 1), 1.0)


def _sums(values: npt.NDArray[np.int16], pictures: int) -> npt.NDArray[np.float64]:
    sums = cv2.reduce(values, 0, cv2.REDUCE_SUM, dtype=cv2.CV_64F)  # in half the time of NumPy's
    return np.asarray(sums.reshape(pictures, -1).sum(axis=1), np.float64)
