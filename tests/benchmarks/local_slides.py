"""Reading slides in local files: beside a loop over OpenSlide's regions, and one decode of each tile."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import openslide
import simplejpeg
import tifffile

from dicom_io.geometry import Patch
from dicom_io.local.opening import open_slide
from dicom_io.reading import ReadOptions
from dicom_io.slides.slide import grid, in_stripes
from dicom_io.sources.session import ReadContext, ReadSession
from dicom_io.sources.shared_raster import RasterRegistry
from dicom_io.waiting import Cancellation
from tests.support.local_slides import APERIO, TILE, jpeg, split_tables, tiles_of, write_tiles
from tests.support.slides import stained

SIDE = 224
CHUNK = 512
"""Patches of one request, as ``pathserve embed`` sends them."""

_UNIQUE = 1024
"""Pixels along an edge of the tissue that the slide repeats."""


def write_large(path: Path, width: int, height: int) -> None:
    """Write an SVS of two levels by repeating the tiles of a square of tissue."""
    unique = [jpeg(tile) for tile in tiles_of(stained(_UNIQUE, _UNIQUE))]
    tables, across = split_tables(unique[0])[0], _UNIQUE // TILE
    unique = [split_tables(data)[1] for data in unique]
    description = APERIO.format(width=width, height=height, tile=TILE) + "|AppMag = 20|MPP = 0.5"
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for times in (1, 16):
            shape = (height // times, width // times)
            down, right = -(-shape[0] // TILE), -(-shape[1] // TILE)
            encoded = [unique[y % across * across + x % across] for y in range(down) for x in range(right)]
            write_tiles(tiff, shape, encoded, tables, description)
            if times == 1:
                tiff.write(stained(256, 256), description=description, metadata=None)


def patches_of(width: int, height: int, rows: int) -> list[Patch]:
    """Return a grid over the whole width and some rows of tiles, aligned to nothing."""
    return grid(_rows(width, height, rows), SIDE, SIDE)


def _rows(width: int, height: int, rows: int) -> Patch:
    return Patch(100, 100, width - 100, min(rows * TILE, height) - 100)


def read_ours(path: Path, patches: Sequence[Patch], context: ReadContext) -> int:
    """Read patches through a source, a chunk at a time; return their number."""
    done = 0
    with open_slide(path, context) as local:
        source, order = local.source(0), in_stripes(patches, SIDE)
        for first in range(0, len(order), CHUNK):
            waits = Cancellation(time.monotonic() + 600)
            session = ReadSession(context, waits, RasterRegistry({}), lambda _: nullcontext())
            image = source.open(ReadOptions(), session)
            for task in image.read(order[first : first + CHUNK]):
                task.wait()
                done += len(task.pixels())
            image.close()
    return done


def read_plain(path: Path, patches: Sequence[Patch]) -> int:
    """Read patches as tutorials do: a region each, in rows, to RGB."""
    with openslide.OpenSlide(path) as slide:
        for patch in patches:
            np.asarray(slide.read_region((patch.x, patch.y), 0, (SIDE, SIDE)).convert("RGB"))
    return len(patches)


def decode_tiles(path: Path, rows: int) -> int:
    """Decode each tile of the rows once, and do nothing else."""
    with tifffile.TiffFile(path) as file, open(path, "rb") as raw:
        page = file.pages[0]
        tables = page.jpegtables[:-2]
        count = rows * -(-page.imagewidth // TILE)
        for offset, size in list(zip(page.dataoffsets, page.databytecounts, strict=True))[:count]:
            raw.seek(offset)
            simplejpeg.decode_jpeg(
                tables + raw.read(size)[2:], "RGB", fastdct=False, fastupsample=False, strict=True
            )
    return count
