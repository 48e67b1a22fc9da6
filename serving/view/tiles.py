"""Tiles and thumbnails as JPEG: a stored tile as it is where a browser can show it, else encoded here."""

from __future__ import annotations

from collections.abc import Hashable

import cv2
import numpy as np
import simplejpeg
from pydicom.uid import JPEGBaseline8Bit

from dicom_io.cache import SharedCache
from dicom_io.geometry import Patch, Rect, UInt8Array, rounded
from dicom_io.reading import ReadOptions, read_here
from dicom_io.slides.frame_cache import EncodedFrame
from dicom_io.slides.level import TiledLevel
from serving.errors import Code, ServiceError
from serving.view.levels import DrawnLevel, drawn_levels
from serving.view.slides import ViewedSlide

CACHE_BYTES = 64 << 20
LIFE_S = 60.0
"""As long as frames and metadata are kept, so that a token which was revoked shows no tile for longer."""

THUMBNAIL_SIDE = 128
_MOST_REGION = 8192
_QUALITY = 85
_WAIT_S = 30.0


class Tiles:
    """Makes tiles; one object for a process. Safe for many threads."""

    def __init__(self) -> None:
        self._made: SharedCache[Hashable, bytes] = SharedCache(CACHE_BYTES, LIFE_S)

    def tile(self, slide: ViewedSlide, number: int, column: int, row: int) -> bytes:
        """Return a tile as JPEG.

        Parameters
        ----------
        number:
            Of the level among ``levels_of(slide)``.

        Raises
        ------
        ServiceError
            NOT_FOUND_ERROR when there is no such tile.
        ImageError
            Of the store or the frame.
        """
        levels = levels_of(slide)
        if number >= len(levels) or column >= levels[number].across or row >= levels[number].down:
            raise ServiceError(Code.NOT_FOUND_ERROR, "The slide has no such tile.")
        level = levels[number]
        if slide.is_near and level.is_stored and _is_shown_as_stored(slide.frames(level.stored).level):
            return _tile(slide, level, column, row)  # reading it again costs less than keeping it

        def make() -> tuple[bytes, int]:
            data = _tile(slide, level, column, row)
            return data, len(data)

        return self._made.get((slide.key, number, column, row), make, _WAIT_S)


def levels_of(slide: ViewedSlide) -> tuple[DrawnLevel, ...]:
    """Return the levels that are drawn of a slide."""
    return drawn_levels([slide.frames(index).level for index in range(len(slide.slide.levels))])


def thumbnail(slide: ViewedSlide, region: Rect) -> bytes:
    """Return a region of level 0 as a JPEG of at most ``THUMBNAIL_SIDE`` pixels a side.

    Raises
    ------
    ServiceError
        INVALID_REQUEST_FIELD_ERROR of a region that is empty, outside, or too large.
    ImageError
    """
    whole = slide.slide
    inside = region.clip(whole.width, whole.height)
    if inside is None or max(inside.width, inside.height) > _MOST_REGION:
        raise ServiceError(Code.INVALID_REQUEST_FIELD_ERROR, "The slide has no such region to show.")
    wanted = THUMBNAIL_SIDE / max(inside.width, inside.height)
    # The smallest level that still has as many pixels as are shown; the largest, where none has.
    index = max(i for i, level in enumerate(whole.levels) if not i or level.width / whole.width >= wanted)
    level = whole.levels[index]
    x, y = level.width / whole.width, level.height / whole.height
    part = rounded(inside.x * x, inside.y * y, inside.right * x, inside.bottom * y)
    part = Patch(part.x, part.y, max(1, part.width), max(1, part.height))
    (pixels,) = read_here(slide.open(index, ReadOptions()), [part])
    scale = min(1.0, THUMBNAIL_SIDE / max(part.width, part.height))
    size = max(1, round(part.width * scale)), max(1, round(part.height * scale))
    return _encoded(np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8))


def _tile(slide: ViewedSlide, level: DrawnLevel, column: int, row: int) -> bytes:
    if level.is_stored:
        frames = slide.frames(level.stored)
        if _is_shown_as_stored(frames.level):
            found = frames.stored(row * level.across + column)
            if isinstance(found, EncodedFrame) and found.syntax == JPEGBaseline8Bit:
                return found.data
    stored = slide.slide.levels[level.stored]
    size = (level.width, level.height)
    same = size == (stored.width, stored.height)
    options = ReadOptions(image_dimensions=None if same else size)
    (pixels,) = read_here(slide.open(level.stored, options), [level.tile(column, row)])
    return _encoded(pixels)


def _is_shown_as_stored(level: TiledLevel) -> bool:
    """Return whether browsers show a level's frames in its colours.

    They take the three samples of a JPEG for YCbCr, unless its own markers say otherwise; frames of RGB
    often have none.
    """
    syntax = next(iter(level.transfer_syntaxes), None)
    return syntax == JPEGBaseline8Bit and level.form.photometric.startswith("YBR")


def _encoded(pixels: UInt8Array) -> bytes:
    data = simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels), quality=_QUALITY, colorspace="RGB", colorsubsampling="420"
    )
    return bytes(data)
