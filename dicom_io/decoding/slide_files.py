"""Slides of OpenSlide's formats, as the decoding helper reads them: it may crash, its asker must not.

OpenSlide and libtiff are native code over files that may come from strangers. A handle of OpenSlide that has
met one fault answers all further reads with it, so a fault drops the handle, and the next read opens anew.
"""

from __future__ import annotations

import ctypes
from collections import OrderedDict
from collections.abc import Sequence

import cv2
import numpy as np
import openslide
import tifffile
from openslide import lowlevel

from dicom_io.decoding.slide_jobs import NOT_KNOWN, SlideDescription, SlideFault, StoredLevel, TileTable
from dicom_io.geometry import UInt8Array

_HANDLES = 4
"""Slides that a helper keeps open."""

_WHITE = (255, 255, 255)

_OPAQUE = 255


class SlideHandles:
    """The slides that a helper has open, by their path and a stamp that changes when the file does."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple[str, str], openslide.OpenSlide] = OrderedDict()

    def describe(self, path: str, stamp: str) -> tuple[SlideDescription, bytes]:
        """Return what is known of a slide, and its ICC profile; empty for none.

        Raises
        ------
        SlideFault
        """
        try:
            handle = self._handle(path, stamp)
            profile = handle.color_profile
            return _description(handle), b"" if profile is None else profile.tobytes()
        except openslide.OpenSlideUnsupportedFormatError as error:
            raise SlideFault(NOT_KNOWN) from error
        except openslide.OpenSlideError as error:
            self._open.pop((path, stamp), None)
            raise SlideFault(str(error)) from error

    def regions(
        self, path: str, stamp: str, level: int, places: Sequence[tuple[int, int]], out: UInt8Array
    ) -> None:
        """Read regions of a level in its colours as stored.

        What is not there (outside of the level, and where a scanner has left gaps) shows the slide's
        background: the colour that the file names, else white.

        Parameters
        ----------
        places:
            Upper left pixel of each, x and y, in pixels of level 0.
        out:
            uint8 RGB ``[regions, height, width, 3]``, which is written to; sizes in pixels of the level.

        Raises
        ------
        SlideFault
        """
        try:
            handle = self._handle(path, stamp)
            background = _background(handle)
            for (x, y), pixels in zip(places, out, strict=True):
                _read(handle, level, x, y, background, pixels)
        except openslide.OpenSlideError as error:
            self._open.pop((path, stamp), None)
            raise SlideFault(str(error)) from error

    def _handle(self, path: str, stamp: str) -> openslide.OpenSlide:
        key = (path, stamp)
        if key not in self._open:
            self._open[key] = openslide.OpenSlide(path)
            while len(self._open) > _HANDLES:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(key)
        return self._open[key]


def _description(handle: openslide.OpenSlide) -> SlideDescription:
    properties = handle.properties
    levels = [
        StoredLevel(
            width,
            height,
            handle.level_downsamples[index],
            _whole(properties.get(f"openslide.level[{index}].tile-width")),
            _whole(properties.get(f"openslide.level[{index}].tile-height")),
        )
        for index, (width, height) in enumerate(handle.level_dimensions)
    ]
    return SlideDescription(
        properties.get(openslide.PROPERTY_NAME_VENDOR, "unknown"),
        tuple(levels),
        _number(properties.get(openslide.PROPERTY_NAME_MPP_X)),
        _number(properties.get(openslide.PROPERTY_NAME_MPP_Y)),
        _number(properties.get(openslide.PROPERTY_NAME_OBJECTIVE_POWER)),
        properties.get(openslide.PROPERTY_NAME_QUICKHASH1),
        openslide.__library_version__,
    )


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def _background(handle: openslide.OpenSlide) -> tuple[int, int, int]:
    name = handle.properties.get(openslide.PROPERTY_NAME_BACKGROUND_COLOR, "")
    try:
        red, green, blue = bytes.fromhex(name)
    except ValueError:
        return _WHITE
    return red, green, blue


def _read(
    handle: openslide.OpenSlide,
    level: int,
    x: int,
    y: int,
    background: tuple[int, int, int],
    out: UInt8Array,
) -> None:
    """Read a region to uint8 RGB ``[height, width, 3]``, laid over a background."""
    height, width = out.shape[:2]
    # OpenSlide's own function, for pixels that hide nothing: ``read_region`` divides each pixel by its alpha
    # and makes a picture of them, which takes a fifth of the time. In memory they are B, G, R and alpha.
    bgra = np.empty((height, width, 4), np.uint8)
    pointer = bgra.ctypes.data_as(ctypes.POINTER(ctypes.c_uint32))
    lowlevel._read_region(handle._osr, pointer, x, y, level, width, height)
    words = bgra.view("<u4")
    # Alpha is the last byte of four; over whole pixels this takes a fifth of the time of a minimum.
    if np.bitwise_and.reduce(words, axis=None) >> 24 == _OPAQUE:
        cv2.cvtColor(bgra, cv2.COLOR_BGRA2RGB, dst=out)
    elif np.bitwise_or.reduce(words, axis=None) >> 24 == 0:
        out[:] = background
    else:
        rgba = np.asarray(handle.read_region((x, y), level, (width, height)))
        out[:] = _over(rgba, background)


def _over(rgba: UInt8Array, background: tuple[int, int, int]) -> UInt8Array:
    """Lay pixels over a background; their colours are not multiplied by alpha."""
    share = rgba[:, :, 3:].astype(np.float32) / _OPAQUE
    mixed = rgba[:, :, :3] * share + np.asarray(background, np.float32) * (1 - share)
    return np.rint(mixed).astype(np.uint8)


def jpeg_tiles(path: str, width: int, height: int) -> tuple[TileTable, UInt8Array] | None:
    """Return where the JPEG tiles of a level are, if that is all there is to it.

    Parameters
    ----------
    width, height:
        Size of the level in pixels.

    Returns
    -------
    The table, and int64 ``[tiles, 2]`` as bytes: the offset of each tile in the file, and its size. ``None``
    where the file is no TIFF, has no such level, or the level is not of 8-bit RGB in baseline JPEG tiles of
    which none is missing.
    """
    try:
        with tifffile.TiffFile(path) as file:
            page = next((p for p in file.pages if _is_plain(p, width, height)), None)
            if not isinstance(page, tifffile.TiffPage):
                return None
            places = np.stack([page.dataoffsets, page.databytecounts], axis=1).astype(np.int64)
            down, across = -(-height // page.tilelength), -(-width // page.tilewidth)
            if places.shape != (down * across, 2) or (places <= 0).any():
                return (
                    None  # writers leave out tiles that are blank; what they stand for is OpenSlide's to say
                )
            photometric = "RGB" if page.photometric == tifffile.PHOTOMETRIC.RGB else "YBR_FULL_422"
            table = TileTable(page.tilewidth, page.tilelength, photometric, (page.jpegtables or b"").hex())
            return table, places.reshape(-1).view(np.uint8)
    except Exception:  # a reader in Python raises anything at hostile bytes; OpenSlide is asked then
        return None


def _is_plain(page: tifffile.TiffPage | tifffile.TiffFrame, width: int, height: int) -> bool:
    return (
        isinstance(page, tifffile.TiffPage)
        and page.is_tiled
        and (page.imagewidth, page.imagelength) == (width, height)
        and page.compression == tifffile.COMPRESSION.JPEG
        and page.photometric in (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR)
        and (page.samplesperpixel, page.bitspersample, page.planarconfig) == (3, 8, 1)
        and page.imagedepth == 1
    )
