"""Slides as files: synthetic SVS and TIFF pyramids, with tiles as scanners write them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from dicom_io.codecs.jpeg_markers import SIGNATURE
from tests.support.slides import Slide, stained
from tests.support.tissue import UInt8Array

TILE = 256
APERIO = (
    "Aperio Image Library v12.0.15 \r\n{width}x{height} [0,0 {width}x{height}] ({tile}x{tile}) JPEG/RGB Q=90"
)


def jpeg(tile: UInt8Array, subsampling: str = "4:2:0", **options: object) -> bytes:
    """Return a tile as a JPEG image."""
    file = io.BytesIO()
    Image.fromarray(tile).save(file, "JPEG", quality=90, subsampling=subsampling, **options)
    return file.getvalue()


def split_tables(data: bytes) -> tuple[bytes, bytes]:
    """Return a JPEG image's tables and the rest of it, each an image of its own (TIFF Technical Note 2)."""
    assert data.startswith(SIGNATURE)
    tables, rest, at = b"", b"", 2
    while data[at + 1] != 0xDA:
        length = 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        segment = data[at : at + length]
        if data[at + 1] in (0xDB, 0xC4):
            tables += segment
        elif data[at + 1] != 0xE0:  # nor a JFIF marker: scanners write none
            rest += segment
        at += length
    return b"\xff\xd8" + tables + b"\xff\xd9", b"\xff\xd8" + rest + data[at:]


def tiles_of(pixels: UInt8Array, side: int = TILE) -> Iterator[UInt8Array]:
    """Yield an image's tiles row by row; those at the edges repeat the last pixels."""
    height, width = pixels.shape[:2]
    for y in range(0, height, side):
        for x in range(0, width, side):
            tile = pixels[y : y + side, x : x + side]
            pad = ((0, side - tile.shape[0]), (0, side - tile.shape[1]), (0, 0))
            yield np.pad(tile, pad, mode="edge")


def as_jpeg(pixels: UInt8Array, side: int = TILE) -> UInt8Array:
    """Return an image as it is seen once its tiles have been stored as JPEG."""
    height, width = pixels.shape[:2]
    tiles = [np.asarray(Image.open(io.BytesIO(jpeg(tile)))) for tile in tiles_of(pixels, side)]
    across = -(-width // side)
    rows = [np.concatenate(tiles[first : first + across], axis=1) for first in range(0, len(tiles), across)]
    return np.asarray(np.concatenate(rows)[:height, :width], np.uint8)


def write_svs(
    path: Path,
    levels: Sequence[UInt8Array],
    *,
    mpp: float | str | None = 0.5,
    icc: bytes | None = None,
    with_tables: bool = True,
) -> Path:
    """Write levels as Aperio's scanners do, JPEG tiles with tables apart; return the path."""
    height, width = levels[0].shape[:2]
    description = APERIO.format(width=width, height=height, tile=TILE) + "|AppMag = 20"
    if mpp is not None:
        description += f"|MPP = {mpp}"
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for number, level in enumerate(levels):
            encoded = [jpeg(tile) for tile in tiles_of(level)]
            tables = split_tables(encoded[0])[0]
            if with_tables:
                encoded = [split_tables(tile)[1] for tile in encoded]
            write_tiles(tiff, level.shape[:2], encoded, tables if with_tables else None, description, icc)
            if number == 0:
                tiff.write(levels[-1], rowsperstrip=64, description=description, metadata=None)
    return path


def write_tiles(
    tiff: tifffile.TiffWriter,
    shape: tuple[int, ...],
    encoded: Sequence[bytes],
    tables: bytes | None,
    description: str | None = None,
    icc: bytes | None = None,
    photometric: str = "ycbcr",
) -> None:
    """Write JPEG tiles that are encoded already as an image of a TIFF."""
    tiff.write(
        iter(encoded),
        shape=(*shape[:2], 3),
        dtype=np.uint8,
        tile=(TILE, TILE),
        photometric=photometric,
        compression="jpeg",
        subsampling=(2, 2) if photometric == "ycbcr" else None,
        description=description,
        iccprofile=icc,
        metadata=None,
        extratags=[] if tables is None else [(347, 7, len(tables), tables, True)],
    )


def write_dicom(folder: Path, slide: Slide) -> Path:
    """Write a slide's instances as files of a folder, which is made; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, stored in enumerate(slide.instances):
        (folder / f"IM{number:04}").write_bytes(stored.file())
    return folder


def write_zip(path: Path, slide: Slide, compression: int = zipfile.ZIP_STORED) -> Path:
    """Write a slide's instances as a ZIP, beside a text; return the path."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("readme.txt", "no DICOM")
        for number, stored in enumerate(slide.instances):
            archive.writestr(f"DICOM/IM{number:04}", stored.file())
    return path


def pyramid_of(width: int, height: int, times: Sequence[int] = (1, 4)) -> list[UInt8Array]:
    """Return H&E-like tissue at several sizes."""
    whole = stained(width, height)
    return [whole if t == 1 else _shrunk(whole, t) for t in times]


def _shrunk(pixels: UInt8Array, times: int) -> UInt8Array:
    height, width = pixels.shape[0] // times, pixels.shape[1] // times
    cut = pixels[: height * times, : width * times].astype(np.float32)
    means = cut.reshape(height, times, width, times, 3).mean(axis=(1, 3))
    return np.asarray(np.rint(means), np.uint8)
