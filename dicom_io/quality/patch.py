"""The quality of patches, from pixels that have been decoded anyway."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from dicom_io.geometry import UInt8Array
from dicom_io.quality.blur import blur_effects
from dicom_io.quality.ink import is_ink
from dicom_io.quality.measures import Measure
from dicom_io.slides.tissue import USUAL_GLASS, tissue_beside

_CELL = 8
"""Pixels along the side of the cells that a patch's colours are looked at in."""

_INK_CELLS = 2
"""Cells along the side of the squares that ink is looked for in: a nucleus does not fill one."""

_EVERY = 16
"""One row, and one column, in so many is looked at for blur: they say what all of them say, within 0.03."""

_BLACK, _WHITE = 20, 220
"""All three channels are below, or above: CLAM's black and white pixels (isBlackPatch_S, isWhitePatch_S)."""


def measure(patches: Sequence[UInt8Array]) -> npt.NDArray[np.float32]:
    """Return the measures of patches; those of several take less time at once.

    Parameters
    ----------
    patches:
        uint8 RGB ``[side, side, 3]`` each, as the model is given them; the side a multiple of 16 pixels, and
        the same for all.

    Returns
    -------
    float32 ``[patches, measures]`` in the order of ``Measure``, each 0 to 1.
    """
    if not patches:
        return np.empty((0, len(Measure)), np.float32)
    # One below the other, cells of different patches share no square.
    cells = np.concatenate([_cells(pixels) for pixels in patches])
    lightness = np.asarray(cv2.cvtColor(cells, cv2.COLOR_RGB2GRAY), np.uint8)
    _, saturation, lightest = cv2.split(_hsv(cells))
    darkest = cv2.min(cv2.min(cells[:, :, 0], cells[:, :, 1]), cells[:, :, 2])
    rows, columns = cells.shape[0] // _INK_CELLS, cells.shape[1] // _INK_CELLS
    larger = np.asarray(cv2.resize(cells, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8)

    def means(values: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
        """Return the mean over each patch."""
        return np.asarray(values.reshape(len(patches), -1).mean(axis=1), np.float64)

    of = {
        Measure.TISSUE: means(tissue_beside(USUAL_GLASS, saturation, lightness)),
        Measure.BLUR: blur_effects(patches, _EVERY),
        Measure.BRIGHTNESS: means(lightness) / 255,
        Measure.SATURATION: means(saturation) / 255,
        Measure.PEN: means(is_ink(_hsv(larger))),
        Measure.BLACK: means(lightest < _BLACK),
        Measure.WHITE: means(darkest > _WHITE),
    }
    return np.stack([of[one] for one in Measure], axis=1).astype(np.float32)


def _cells(pixels: UInt8Array) -> UInt8Array:
    """Return the mean colour of the four pixels in the middle of each cell."""
    side = pixels.shape[0] // _CELL
    return np.asarray(cv2.resize(pixels, (side, side), interpolation=cv2.INTER_LINEAR), np.uint8)


def _hsv(pixels: UInt8Array) -> UInt8Array:
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV), np.uint8)
