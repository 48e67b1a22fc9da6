"""A level seen whole at a small size, read block by block so that its own size takes no memory."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable

import cv2
import numpy as np

from dicom_io.geometry import Patch, UInt8Array
from dicom_io.reading import OpenedImage, ReadOptions, read_here
from dicom_io.slides.level_image import MAX_DOWNSAMPLING
from dicom_io.slides.tissue import OVERVIEW_SIDE, overview_of

OpenLevel = Callable[[int, ReadOptions], OpenedImage]
"""Opens a level of a slide by its index."""

READ_AT_ONCE = 1 << 24
"""Pixels of a level that is read whole; a larger one is shrunk while it is read."""

_BLOCK = 256
"""Pixels along an edge of a block, after it was shrunk."""


def read_overview(open_level: OpenLevel, index: int, width: int, height: int) -> UInt8Array:
    """Return a level, area-averaged to a longer side of at most ``OVERVIEW_SIDE`` pixels.

    Parameters
    ----------
    width, height:
        Size of the level in pixels.

    Returns
    -------
    uint8 RGB ``[rows, columns, 3]``.

    Raises
    ------
    ImageError
    """
    if width * height <= READ_AT_ONCE:
        (whole,) = read_here(open_level(index, ReadOptions()), [Patch(0, 0, width, height)])
        return overview_of(whole)
    scale = max(width, height) / OVERVIEW_SIDE
    columns, rows = max(1, round(width / scale)), max(1, round(height / scale))
    # A level may be shrunk only so far; the rest of the way is whole numbers of its pixels.
    further = math.ceil(max(width / columns, height / rows) / MAX_DOWNSAMPLING)
    out = np.empty((rows, columns, 3), np.uint8)
    shrunk = ReadOptions(image_dimensions=(columns * further, rows * further))
    blocks = [
        Patch(x, y, min(_BLOCK, columns - x), min(_BLOCK, rows - y))
        for y in range(0, rows, _BLOCK)
        for x in range(0, columns, _BLOCK)
    ]
    patches = [Patch(b.x * further, b.y * further, b.width * further, b.height * further) for b in blocks]
    with contextlib.closing(open_level(index, shrunk)) as image:
        for task in image.read(patches):
            task.wait()
            for number, pixels in zip(task.indexes, task.pixels(), strict=True):
                block = blocks[number]
                out[block.within(Patch(0, 0, columns, rows))] = cv2.resize(
                    pixels, (block.width, block.height), interpolation=cv2.INTER_AREA
                )
    return out
