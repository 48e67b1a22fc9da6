"""DICOM files: what the file meta information says decides, and nothing is inflated or read without end."""

from __future__ import annotations

import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest

from dicom_io.codecs.raster import RasterFile
from dicom_io.errors import ImageCode, ImageError
from tests.support.slides import CODINGS, DEFLATED, EXPLICIT, IMPLICIT, JPEG, MICROSCOPIC, Slide, stained

MAX = 1_000_000
TILE = np.ascontiguousarray(stained(256, 256))
META_TAG = b"\x02\x00\x10\x00UI"


def file(name: str = "explicit") -> bytes:
    return Slide().add_single(TILE, CODINGS[name], MICROSCOPIC).file()


def refusal(data: bytes) -> ImageError:
    with pytest.raises(ImageError) as caught:
        RasterFile(data, MAX).decode()
    return caught.value


def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
    if vr in (b"OB", b"SQ", b"UN"):
        return struct.pack("<HH2s2xI", group, number, vr, len(value)) + value
    return struct.pack("<HH2sH", group, number, vr, len(value)) + value


@pytest.mark.parametrize("name", [name for name in CODINGS if name != "deflated"])
def test_files_of_every_syntax_are_read(name: str) -> None:
    instance = Slide().add_single(TILE, CODINGS[name], MICROSCOPIC)
    opened = RasterFile(instance.file(), MAX)
    assert opened.in_process == (CODINGS[name].syntax in (IMPLICIT, EXPLICIT, JPEG))
    pixels = opened.decode().pixels.astype(int)
    assert np.abs(pixels - instance.truth[:, :, : pixels.shape[2]]).max() <= CODINGS[name].tolerance


def test_a_deflated_file_behind_a_decoy_is_refused_before_it_is_inflated() -> None:
    decoy = element(2, 2, b"UI", META_TAG + b"\x14\x001.2.840.10008.1.2.1\0")
    syntax = element(2, 0x10, b"UI", DEFLATED.encode())
    zipper = zlib.compressobj(9, wbits=-15)
    bomb = zipper.compress(element(0x28, 0x10, b"UN", bytes(200_000_000))) + zipper.flush()
    data = bytes(128) + b"DICM" + decoy + syntax + bomb
    tracemalloc.start()
    error = refusal(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert error.code is ImageCode.IMAGE_ERROR
    assert DEFLATED in str(error)
    assert peak < 10_000_000


def test_very_many_elements_end_soon() -> None:
    data = file()
    at = data.index(META_TAG)
    end = at + 8 + int.from_bytes(data[at + 6 : at + 8], "little")
    while data[end : end + 2] == b"\x02\x00":
        end += 8 + int.from_bytes(data[end + 6 : end + 8], "little")
    many = b"".join(element(9, i & 0xFFFF, b"UI", b"") for i in range(300_000))
    started = time.process_time()
    assert refusal(data[:end] + many + data[end:]).code is ImageCode.IMAGE_ERROR
    assert time.process_time() - started < 3


def test_deeply_nested_sequences_are_an_error() -> None:
    data = file()
    at = data.index(struct.pack("<HH", 0x28, 2))
    nested = b"\x09\x00\x01\x00SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 3000
    assert refusal(data[:at] + nested + data[at:]).code is ImageCode.IMAGE_ERROR


def test_the_size_is_held_to_the_limit() -> None:
    with pytest.raises(ImageError) as caught:
        RasterFile(file(), 256 * 256 - 1)
    assert caught.value.code is ImageCode.IMAGE_DIMENSION_ERROR


def test_a_hostile_table_of_rle_segments_is_an_image_error() -> None:
    good = CODINGS["RLE"].encode(TILE)
    data = file("RLE").replace(good[:64], struct.pack("<4I", 3, 64, 128, 0x7FFFFFFF).ljust(64, b"\0"))
    assert "segments" in str(refusal(data))
