"""A picture of what was embedded: the slide, its tissue and the grid of patches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from dicom_io.geometry import UInt8Array
from model.encoder import PATCH_SIDE
from serving.output.files import named, write
from serving.output.table import PatchFrame

MOST_SIDE = 2048

_TISSUE = (0, 160, 0)
_GRID = (20, 60, 220)


def picture(
    overview: UInt8Array,
    tissue: npt.NDArray[np.bool_] | None,
    origins: Sequence[tuple[int, int]],
    frame: PatchFrame,
) -> UInt8Array:
    """Return an overview with the outline of the tissue in green, and the patches in blue.

    Parameters
    ----------
    overview:
        The whole slide, uint8 RGB ``[rows, columns, 3]``.
    tissue:
        bool, of any size, over the whole slide; ``None`` where it was not looked for.
    origins:
        (x, y) of the patches in ``frame``.

    Returns
    -------
    uint8 RGB ``[rows, columns, 3]``, the longer side at most ``MOST_SIDE``.
    """
    rows, columns = overview.shape[:2]
    times = min(1.0, MOST_SIDE / max(rows, columns))
    size = (max(1, round(columns * times)), max(1, round(rows * times)))
    image = np.ascontiguousarray(cv2.resize(overview, size, interpolation=cv2.INTER_AREA))
    across, down = size[0] / frame.width, size[1] / frame.height
    tinted = image.copy()
    corners = [
        ((int(x * across), int(y * down)), (int((x + PATCH_SIDE) * across), int((y + PATCH_SIDE) * down)))
        for x, y in origins
    ]
    for first, last in corners:
        cv2.rectangle(tinted, first, last, _GRID, cv2.FILLED)
    image = cv2.addWeighted(tinted, 0.15, image, 0.85, 0)
    for first, last in corners:
        cv2.rectangle(image, first, last, _GRID, 1)
    if tissue is not None:
        mask = cv2.resize(tissue.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        outline, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        cv2.drawContours(image, outline, -1, _TISSUE, 2)
    return np.asarray(image, np.uint8)


def write_picture(path: Path, pixels: UInt8Array) -> None:
    """Write uint8 RGB ``[rows, columns, 3]`` as PNG, whole or not at all.

    Raises
    ------
    OutputError
    """
    _, data = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    with named(path):
        write(path, data.tobytes())
