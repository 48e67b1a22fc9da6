"""PNG: what is in its metadata never costs the picture, and what is damaged in the picture is an error."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dicom_io.codecs.encoded_image import MAX_PROFILE_BYTES
from dicom_io.codecs.raster import Raster, RasterFile
from dicom_io.errors import ImageCode, ImageError
from tests.support.tissue import encode, tissue

MAX = 1_000_000


def decode(data: bytes) -> Raster:
    return RasterFile(data, MAX).decode()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunk(data: bytes, extra: bytes) -> bytes:
    return data[:33] + extra + data[33:]


def profile_chunk(profile: bytes) -> bytes:
    return chunk(b"iCCP", b"name\0\0" + zlib.compress(profile))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1"])
@pytest.mark.parametrize("level", [0, 9])
def test_pixels_are_pillows(mode: str, level: int) -> None:
    data = encode(Image.fromarray(tissue()[:223, :225]).convert(mode), "PNG", compress_level=level)
    image = Image.open(io.BytesIO(data)).convert("L" if mode in ("L", "LA", "1") else "RGB")
    np.testing.assert_array_equal(decode(data).pixels, np.atleast_3d(np.asarray(image)))


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(8_000_000))),
        chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(bytes(8_000_000))),
        chunk(b"tEXt", b"a\0" + b"x" * 3_000_000),
        b"".join(chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(900_000))) for _ in range(90)),
        chunk(b"zTXt", b"a\0\0no zlib stream"),
        chunk(b"eXIf", b"no EXIF"),
        chunk(b"gAMA", b"x"),
        b"\0\0\0\2tEXtabCRC!",
    ],
    ids=["large zTXt", "large iTXt", "large tEXt", "many zTXt", "damaged zTXt", "EXIF", "gAMA", "CRC"],
)
@pytest.mark.parametrize("mode", ["RGB", "P"])
def test_large_or_damaged_metadata_leave_the_picture_alone(extra: bytes, mode: str) -> None:
    data = encode(Image.fromarray(tissue()[:99, :99]).convert(mode))
    raster = decode(with_chunk(data, extra))
    np.testing.assert_array_equal(raster.pixels, decode(data).pixels)
    assert raster.icc_profile is None


def test_a_profile_of_megabytes_is_read() -> None:
    profile = bytes(range(256)) * 12_000
    assert decode(with_chunk(encode(tissue()), profile_chunk(profile))).icc_profile == profile


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"iCCP", b"x\0\0no zlib stream"),
        chunk(b"iCCP", b"x\0\1" + zlib.compress(b"profile")),
        chunk(b"iCCP", b"x\0\0" + zlib.compress(b"profile" * 99)[:-9]),
        profile_chunk(b"profile") * 2,
        profile_chunk(bytes(MAX_PROFILE_BYTES + 1)),
        profile_chunk(b"profile")[:-1] + b"!",
        chunk(b"iCCP", b""),
    ],
    ids=["no zlib", "method", "cut off", "twice", "bomb", "CRC", "empty"],
)
def test_a_damaged_profile_is_known_as_one(extra: bytes) -> None:
    raster = decode(with_chunk(encode(tissue()), extra))
    assert raster.icc_profile == b""
    np.testing.assert_array_equal(raster.pixels, tissue())


def test_a_chunk_that_decides_about_the_picture_and_is_unknown_is_an_error() -> None:
    with pytest.raises(ImageError) as caught:
        decode(with_chunk(encode(tissue()), chunk(b"ABCD", b"")))
    assert caught.value.code is ImageCode.IMAGE_ERROR


@given(st.floats(0, 1), st.integers(0, 7), st.booleans(), st.sampled_from(["RGB", "P"]))
def test_a_damaged_image_is_pillows_or_an_error(where: float, bit: int, cut: bool, mode: str) -> None:
    data = bytearray(encode(Image.fromarray(tissue()[:64, :80]).convert(mode)))
    place = int(where * (len(data) - 1))
    if cut:
        del data[place:]
    else:
        data[place] ^= 1 << bit
    try:
        pixels = decode(bytes(data)).pixels
    except ImageError:
        return
    # A name of a chunk that became one of metadata is no damage to those that are left.
    slow = np.atleast_3d(np.asarray(Image.open(io.BytesIO(bytes(data))).convert("RGB")))
    np.testing.assert_array_equal(pixels, slow)
