"""Slides for the page, made in moments: few tiles, used again and again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from tests.support.local_slides import APERIO, TILE, jpeg, split_tables, write_svs, write_tiles
from tests.support.slides import stained
from tests.support.tissue import UInt8Array

SIDE = 224


def patterned(columns: int, rows: int, extra: tuple[int, int] = (100, 60)) -> UInt8Array:
    """Return tissue whose patches differ: uint8 RGB of columns x rows patches and a little more."""
    width, height = columns * SIDE + extra[0], rows * SIDE + extra[1]
    pixels = stained(width, height).astype(np.float32)
    # Each patch in a tint of its own: mirrored tissue would make many of them equal.
    shades = np.random.default_rng(7).uniform(0.55, 1.0, (rows + 1, columns + 1, 3)).astype(np.float32)
    tints = np.repeat(np.repeat(shades, SIDE, axis=0), SIDE, axis=1)[:height, :width]
    return np.asarray(np.rint(pixels * tints), np.uint8)


def shrunk(pixels: UInt8Array, times: int) -> UInt8Array:
    """Return an image, each of its pixels the mean of several."""
    height, width = pixels.shape[0] // times * times, pixels.shape[1] // times * times
    cells = pixels[:height, :width].reshape(height // times, times, width // times, times, 3)
    return np.asarray(np.rint(cells.mean(axis=(1, 3), dtype=np.float32)), np.uint8)


def write_slide(path: Path, pixels: UInt8Array, times: tuple[int, ...] = (1, 4)) -> Path:
    """Write an image as a slide of a few levels."""
    return write_svs(path, [pixels if t == 1 else shrunk(pixels, t) for t in times], mpp=0.5)


def checkerboard(patches: int) -> UInt8Array:
    """Return dark and light patches by turns, uint8 RGB."""
    cells = (np.add.outer(np.arange(patches), np.arange(patches)) % 2).astype(np.uint8)
    gray = np.repeat(np.repeat(cells * 170 + 60, SIDE, axis=0), SIDE, axis=1)
    return np.ascontiguousarray(np.repeat(gray[:, :, np.newaxis], 3, axis=2))


def write_large(path: Path, side: int) -> Path:
    """Write a slide of side x side pixels, all of whose tiles are of a few kinds."""
    description = APERIO.format(width=side, height=side, tile=TILE) + "|AppMag = 20|MPP = 0.5"
    kinds = [jpeg(np.ascontiguousarray(stained(1024, 1024)[:TILE, x : x + TILE])) for x in (0, 256, 512)]
    tables = split_tables(kinds[0])[0]
    kinds = [split_tables(kind)[1] for kind in kinds]
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for number, times in enumerate((1, 4, 16, 32)):
            size = side // times
            tiles = (-(-size // TILE)) ** 2
            encoded = [kinds[i % len(kinds)] for i in range(tiles)]
            write_tiles(tiff, (size, size), encoded, tables, description, None)
            if number == 0:
                small = np.ascontiguousarray(stained(1024, 1024)[:256, :256])
                tiff.write(small, rowsperstrip=64, description=description, metadata=None)
    return path
