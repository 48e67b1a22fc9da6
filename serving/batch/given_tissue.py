"""Tissue that people have outlined themselves: a mask, or GeoJSON as QuPath exports it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dicom_io.errors import ImageError
from dicom_io.slides.tissue import TissueMap
from dicom_io.sources.session import ReadContext
from dicom_io.sources.shared_raster import SharedRaster

MOST_BYTES = 512 << 20
"""Larger files of outlines or masks are refused."""

_MASK_SIDE = 4096
"""Longest side of the mask that outlines are drawn to: 100,000 pixels of a slide are then 25 a pixel."""

_SHAPES_MAY_DIFFER = 0.02
"""How far a mask's shape may be from the slide's: it is a few hundred pixels, rounded."""

_ENDINGS = ("png", "geojson", "json")

_SHIFT = 4
"""Bits of a pixel's fraction that OpenCV is given."""


class TissueError(Exception):
    """The file of tissue cannot be used; the text says why."""


def tissue_file(given: Path, name: str) -> Path:
    """Return the file of a slide: the one that was given, or the one of its name in a folder.

    Raises
    ------
    TissueError
        When there is none in the folder, or it is no file.
    """
    if not os.path.isdir(given):
        if os.path.exists(given) and not os.path.isfile(given):  # a pipe, which would be waited for
            raise TissueError(f"{given} is neither a file nor a folder.")
        return given
    files = [given / f"{name}.{ending}" for ending in _ENDINGS]
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        raise TissueError(f"{given} has no {' or '.join(file.name for file in files)} for this slide.")
    return found


def read_tissue(path: Path, width: int, height: int, context: ReadContext) -> TissueMap:
    """Return tissue that a file outlines, for patches in the frame of level 0.

    Parameters
    ----------
    path:
        GeoJSON with polygons in pixels of level 0, where the file's name or first byte says so; else a
        picture of any size over the whole slide, whose pixels that are not black are tissue.
    width, height:
        Size of level 0 in pixels.

    Raises
    ------
    TissueError
        When it cannot be read, is of another shape, or outlines nothing.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise TissueError(f"{path} has more than {MOST_BYTES >> 20} MiB.")
        data = path.read_bytes()
    except OSError as error:
        raise TissueError(f"{path} cannot be read: {error.strerror}.") from error
    if path.suffix.lower() in (".geojson", ".json") or data.lstrip()[:1] in (b"{", b"["):
        return _of_outlines(path, data, width, height)
    return _of_mask(path, data, width, height, context)


def _of_mask(path: Path, data: bytes, width: int, height: int, context: ReadContext) -> TissueMap:
    try:
        pixels = SharedRaster(lambda: data, context.decoders, context.max_image_pixels).raster().pixels
    except ImageError as error:
        raise TissueError(f"{path} is not a mask that can be read: {error.fault.description}") from error
    rows, columns, channels = pixels.shape
    shape = (columns / rows) / (width / height)
    if abs(shape - 1) > _SHAPES_MAY_DIFFER and abs(columns - width * rows / height) > 1:
        raise TissueError(
            f"{path} has {columns}x{rows} pixels, which is not the shape of the slide, {width}x{height}."
        )
    colours = pixels if channels in (1, 3) else pixels[:, :, : channels - 1]
    return _with_tissue(path, TissueMap(np.asarray(colours.any(axis=2), np.bool_), width, height))


def _of_outlines(path: Path, data: bytes, width: int, height: int) -> TissueMap:
    scale = min(1.0, _MASK_SIDE / max(width, height))
    mask = np.zeros((max(1, round(height * scale)), max(1, round(width * scale))), np.uint8)
    across, down = mask.shape[1] / width, mask.shape[0] / height
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise TissueError(f"{path} is not GeoJSON: {error}.") from error
    try:
        for rings in _polygons(found):
            # A point (x, y) of an outline is a corner of pixels, and OpenCV's are their centres.
            points = [np.asarray(ring, np.float64)[:, :2] * (across, down) - 0.5 for ring in rings]
            if not all(np.isfinite(one).all() and np.abs(one).max() < 1 << 20 for one in points):
                raise TissueError(f"{path} has a point far outside of the slide.")
            fixed = [np.round(one * (1 << _SHIFT)).astype(np.int32) for one in points]
            # Holes are rings, too: they cross out what the outer one draws, and nothing of other outlines.
            drawn = np.zeros_like(mask) if len(fixed) > 1 else mask
            cv2.fillPoly(drawn, fixed, 1, shift=_SHIFT)
            mask |= drawn
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise TissueError(
            f"{path} is not GeoJSON of polygons; export it from QuPath, or see RFC 7946, 3.1.6."
        ) from error
    return _with_tissue(path, TissueMap(mask.astype(bool), width, height))


def _with_tissue(path: Path, tissue: TissueMap) -> TissueMap:
    if not tissue.mask.any():
        raise TissueError(f"{path} outlines no tissue in the {tissue.width}x{tissue.height} pixels.")
    return tissue


def _polygons(found: Any) -> Iterator[list[Any]]:
    """Yield the rings of each polygon in any GeoJSON, as QuPath writes it or an array of such."""
    if isinstance(found, list):
        for one in found:
            yield from _polygons(one)
    elif found["type"] == "FeatureCollection":
        yield from _polygons(found["features"])
    elif found["type"] == "Feature":
        kind = (found.get("properties") or {}).get("classification") or {}
        # QuPath's class for what is not to be looked at.
        if found.get("geometry") and kind.get("name") != "Ignore*":
            yield from _polygons(found["geometry"])
    elif found["type"] == "GeometryCollection":
        yield from _polygons(found["geometries"])
    elif found["type"] == "Polygon":
        yield found["coordinates"]
    elif found["type"] == "MultiPolygon":
        yield from found["coordinates"]
