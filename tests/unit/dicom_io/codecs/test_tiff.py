"""TIFF: what libtiff would allocate is read first, and pixels are as stored."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from dicom_io.codecs.raster import RasterFile
from dicom_io.codecs.tiff import read_directory
from dicom_io.errors import ImageCode, ImageError
from tests.support.tissue import UInt8Array, encode, tissue

MAX = 10_000_000
PIXELS = np.ascontiguousarray(tissue()[:200, :300])
_ORIENTATION, _PROFILE = 274, 34675


def decode(data: bytes) -> UInt8Array:
    return RasterFile(data, MAX).decode().pixels


def refusal(data: bytes) -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode(data)
    return caught.value


def written(**options: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, PIXELS, **{"photometric": "rgb", **options})  # type: ignore[arg-type]
    return file.getvalue()


def changed(data: bytes, tag: int, value: int) -> bytes:
    """Return a little-endian file with another first value of a tag, of as many bytes as there were."""
    field = read_directory(data).fields[tag]
    packed = struct.pack({3: "<H", 4: "<I"}[field.kind], value)
    return data[: field.at] + packed + data[field.at + len(packed) :]


@pytest.mark.parametrize(
    "options",
    [
        {}, {"byteorder": ">"}, {"bigtiff": True}, {"compression": "lzw"},
        {"compression": "zlib", "predictor": True}, {"tile": (64, 64)}, {"tile": (1024, 1024)},
        {"rowsperstrip": 7},
        {"compression": "packbits"}, {"metadata": None},
    ],
)  # fmt: skip
def test_pixels_are_those_that_were_written(options: dict[str, object]) -> None:
    np.testing.assert_array_equal(decode(written(**options)), PIXELS)


def test_a_tile_far_larger_than_the_image_is_refused_before_it_is_allocated() -> None:
    data = written(tile=(64, 64), compression="zlib")
    huge = changed(changed(data, 322, 20_000), 323, 20_000)
    assert refusal(huge).code is ImageCode.IMAGE_DIMENSION_ERROR
    assert "20000x20000" in str(refusal(huge))
    fewer = changed(changed(data, 322, 6_000), 323, 6_000)
    assert refusal(fewer).code is ImageCode.IMAGE_DIMENSION_ERROR


@pytest.mark.parametrize(("tag", "value"), [(256, 60_000), (257, 60_000), (277, 60_000)])
def test_size_and_samples_are_held_to_the_limit(tag: int, value: int) -> None:
    data = written()
    large = changed(changed(data, 256, 20_000), tag, value)
    assert refusal(large).code is ImageCode.IMAGE_DIMENSION_ERROR


@pytest.mark.parametrize("orientation", [2, 3, 5, 6, 7, 8])
@pytest.mark.parametrize("options", [{}, {"compression": "lzw"}, {"tile": (64, 64)}])
def test_pixels_are_as_stored_whatever_the_orientation(orientation: int, options: dict[str, object]) -> None:
    data = written(extratags=[(_ORIENTATION, 3, 1, orientation, True)], **options)
    assert read_directory(data).number(_ORIENTATION) == orientation
    file = RasterFile(data, MAX)
    assert (file.width, file.height) == (300, 200)
    np.testing.assert_array_equal(file.decode().pixels, PIXELS)


def test_an_orientation_in_xmp_is_not_applied_either() -> None:
    xmp = b'<x xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
    data = written(extratags=[(700, 1, len(xmp), xmp, True)])
    np.testing.assert_array_equal(decode(data), PIXELS)


@pytest.mark.parametrize("options", [{}, {"tile": (64, 64)}])
def test_a_hole_in_a_jpeg_within_is_an_error(options: dict[str, object]) -> None:
    data = bytearray(written(compression="jpeg", photometric="rgb", **options))
    assert np.abs(decode(bytes(data)).astype(int) - PIXELS).mean() < 4
    field = read_directory(bytes(data))
    tag = 324 if 324 in field.fields else 273
    start = field.numbers(tag, 0)[0] + 800
    data[start : start + 600] = bytes(600)
    Image.open(io.BytesIO(bytes(data))).load()  # Pillow does not mind
    assert refusal(bytes(data)).code is ImageCode.IMAGE_ERROR


def test_old_style_jpeg_is_refused_by_name() -> None:
    assert "old-style" in str(refusal(changed(written(compression="jpeg"), 259, 6)))


def test_a_jpeg_within_that_is_larger_than_the_image_is_refused_before_it_is_allocated() -> None:
    data = bytearray(written(compression="jpeg", photometric="rgb"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = (60_000).to_bytes(2, "big") * 2
    assert "larger than its tiles" in str(refusal(bytes(data)))


def test_a_profile_that_reaches_beyond_the_file_is_known_as_damaged() -> None:
    profile = bytes(range(256)) * 3
    data = written(extratags=[(_PROFILE, 7, len(profile), profile, True)])
    assert RasterFile(data, MAX).decode().icc_profile == profile
    directory = read_directory(data)
    entry = data.index(struct.pack("<HHI", _PROFILE, 7, len(profile)))
    longer = data[: entry + 4] + struct.pack("<I", len(data)) + data[entry + 8 :]
    assert directory.fields[_PROFILE].at
    assert RasterFile(longer, MAX).decode().icc_profile == b""


def test_a_field_that_is_there_twice_is_refused() -> None:
    data = written()
    length = data.index(struct.pack("<HH", 257, read_directory(data).fields[257].kind))
    twice = data[:length] + struct.pack("<H", 256) + data[length + 2 :]
    assert "repeats" in str(refusal(twice))


def test_a_directory_beyond_the_file_is_an_error() -> None:
    data = written()
    assert refusal(data[:4] + (2**31).to_bytes(4, "little") + data[8:]).code is ImageCode.IMAGE_ERROR


def test_a_tiff_is_not_decoded_in_this_process() -> None:
    assert not RasterFile(encode(PIXELS, "TIFF"), MAX).in_process
