"""Which TIFFs are refused for being cut off, and which are left to whoever reads them."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import tifffile
from PIL import Image

from dicom_io.local.files import PositionedFile
from dicom_io.local.opening import open_slide
from dicom_io.local.slide import BrokenTiff
from dicom_io.local.tiff_bounds import why_not_whole
from dicom_io.sources.session import ReadContext
from tests.support.local_slides import pyramid_of, write_svs
from tests.support.tissue import tissue

Entry = tuple[int, int, int, int]
CUT_OFF = r"slide\.svs is cut off: it names data up to byte {}, and the file has {} bytes; copy it again\."


def judged(path: Path) -> str | None:
    file = PositionedFile.open(path)
    try:
        return why_not_whole(file.whole())
    finally:
        file.close()


def classic(*directories: tuple[list[Entry], int], order: str = "<", size: int = 4000) -> bytes:
    """Return a TIFF of directories at 100, 400, 700, …, each with where the next one is."""
    data = bytearray(size)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    data[:8] = mark + struct.pack(order + "I", 100)
    for number, (entries, following) in enumerate(directories):
        body = struct.pack(order + "H", len(entries))
        for tag, kind, count, value in entries:
            place = struct.pack(order + ("HH" if kind == 3 else "I"), *([value, 0] if kind == 3 else [value]))
            body += struct.pack(order + "HHI", tag, kind, count) + place
        body += struct.pack(order + "I", following)
        at = 100 + 300 * number
        data[at : at + len(body)] = body
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (b"II*\0" + struct.pack("<I", 9_000_000) + bytes(1000), 9_000_002),
        (b"MM\0*" + struct.pack(">I", 9_000_000) + bytes(1000), 9_000_002),
        (b"MM\0+\0\x08\0\0" + struct.pack(">Q", 1 << 40) + bytes(99), (1 << 40) + 8),
        (b"II+\0\x08\0\0\0" + struct.pack("<Q", (1 << 64) - 9) + bytes(99), (1 << 64) - 1),
        (b"II+\0\x08\0", 16),
        (b"II*\0\x08\0", 8),
    ],
)
def test_a_directory_beyond_the_end_is_cut_off(
    tmp_path: Path, context: ReadContext, data: bytes, end: int
) -> None:
    path = tmp_path / "slide.svs"
    path.write_bytes(data)
    with pytest.raises(BrokenTiff, match=CUT_OFF.format(end, len(data))):
        open_slide(path, context)


@pytest.mark.parametrize("lost", [lambda size: size // 2, lambda _: 10, lambda _: 1, lambda size: size - 500])
def test_an_svs_whose_download_broke_off_is_cut_off_wherever_it_did(
    tmp_path: Path, context: ReadContext, lost: Callable[[int], int]
) -> None:
    path = write_svs(tmp_path / "slide.svs", pyramid_of(1500, 1100))
    assert judged(path) is None
    size = path.stat().st_size
    os.truncate(path, size - lost(size))
    with pytest.raises(BrokenTiff, match=CUT_OFF.format(r"\d+", path.stat().st_size)):
        open_slide(path, context)


@pytest.mark.parametrize("bigtiff", [True, False])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("tile", [(256, 256), None])
def test_tiles_and_strips_of_every_kind_of_tiff_are_compared(
    tmp_path: Path, bigtiff: bool, byteorder: Literal["<", ">"], tile: tuple[int, int] | None
) -> None:
    path = tmp_path / "slide.tif"
    with tifffile.TiffWriter(path, bigtiff=bigtiff, byteorder=byteorder) as tiff:
        tiff.write(np.asarray(tissue(700, 500)), tile=tile, rowsperstrip=None if tile else 7)
    assert judged(path) is None
    size = path.stat().st_size
    os.truncate(path, size - 10)
    assert f"names data up to byte {size}, and the file has {size - 10} bytes" in (judged(path) or "")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("following", [100, 400])
def test_directories_that_lead_in_a_circle_are_damaged(
    tmp_path: Path, context: ReadContext, order: str, following: int
) -> None:
    path = tmp_path / "slide.svs"
    path.write_bytes(classic(([(256, 3, 1, 9)], 400), ([(256, 3, 1, 9)], following), order=order))
    with pytest.raises(BrokenTiff, match=r"slide\.svs is damaged: its chain of directories leads back"):
        open_slide(path, context)


ICC, PRIVATE, NDPI = 34675, 50000, 65420


@pytest.mark.parametrize(
    ("entries", "is_whole"),
    [
        ([(324, 4, 1, 3000), (325, 4, 1, 1000)], True),
        ([(324, 4, 1, 3000), (325, 4, 1, 1001)], False),
        ([(273, 4, 1, 3000), (279, 3, 1, 1001)], False),
        ([(324, 4, 1, 1 << 31), (325, 4, 1, 0)], True),  # left out by its writer
        ([(324, 4, 1, 0), (325, 4, 1, 1 << 31)], True),
        ([(324, 4, 1, 1 << 31)], True),  # nothing says how much is there
        ([(324, 4, 1 << 30, 3000), (325, 4, 1 << 30, 3000)], False),
        ([(324, 2, 1, 9999), (325, 2, 1, 9999)], True),  # no numbers
        ([(270, 2, 100, 3900)], True),
        ([(270, 2, 101, 3900)], False),
        ([(ICC, 7, 101, 3900)], False),
        ([(PRIVATE, 7, 101, 3900)], True),  # of a kind that only its writer knows
        ([(270, 99, 101, 3900)], True),
        ([(NDPI, 3, 1, 1), (324, 4, 1, 3000), (325, 4, 1, 1001)], True),
        ([], True),  # no directory: what it is, others say
    ],
)
def test_only_what_is_surely_missing_is_called_so(
    tmp_path: Path, entries: list[Entry], is_whole: bool
) -> None:
    path = tmp_path / "slide.tif"
    path.write_bytes(classic((entries, 0)))
    assert (judged(path) is None) == is_whole


def test_a_hamamatsu_slide_whose_offsets_have_64_bits_is_left_to_openslide(tmp_path: Path) -> None:
    directory = struct.pack("<HHHIIQ", 1, NDPI, 3, 1, 1, 0)
    at = (1 << 32) + 100
    path = tmp_path / "slide.ndpi"
    with path.open("wb") as file:  # sparse
        file.write(b"II*\0" + struct.pack("<Q", at))
        file.seek(50)
        file.write(struct.pack("<H", 0xFFF))  # where 32 bits would lead to
        file.seek(at)
        file.write(directory)
    assert judged(path) is None


def test_a_chain_and_tables_without_end_are_looked_at_no_longer_than_a_moment(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    step, number = 60, 20_000
    table = [(324, 4, 250_000, 8), (325, 4, 250_000, 8), (270, 2, 1, 0)]
    with path.open("wb") as file:
        file.write(b"II*\0" + struct.pack("<I", 8))
        for k in range(number):
            body = struct.pack("<H", len(table)) + b"".join(struct.pack("<HHII", *entry) for entry in table)
            file.write((body + struct.pack("<I", 8 + (k + 1) * step)).ljust(step, b"\0"))
    judged(path)


@pytest.mark.parametrize("kind", ["TIFF", "PNG", "JPEG"])
def test_what_is_whole_or_no_tiff_is_left_to_others(tmp_path: Path, kind: str) -> None:
    file = io.BytesIO()
    Image.fromarray(np.asarray(tissue(300, 300))).save(file, kind)
    (tmp_path / "picture").write_bytes(file.getvalue())
    assert judged(tmp_path / "picture") is None
