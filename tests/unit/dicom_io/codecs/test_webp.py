"""WebP and BMP: their headers are read before anything is allocated for them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from dicom_io.codecs.raster import RasterFile
from dicom_io.errors import ImageCode, ImageError
from tests.support.tissue import encode, tissue

MAX = 1_000_000
PIXELS = np.ascontiguousarray(tissue()[:100, :160])


def refusal(data: bytes, max_pixels: int = MAX) -> ImageCode:
    with pytest.raises(ImageError) as caught:
        RasterFile(data, max_pixels).decode()
    return caught.value.code


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"icc_profile": bytes(200)}])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_the_size_is_read_of_every_kind_of_webp(options: dict[str, object], mode: str) -> None:
    data = encode(Image.fromarray(PIXELS).convert(mode), "WEBP", **options)
    file = RasterFile(data, 160 * 100)
    assert (file.width, file.height, file.in_process) == (160, 100, False)
    assert file.decode().pixels.shape == (100, 160, 3)
    assert refusal(data, 160 * 100 - 1) is ImageCode.IMAGE_DIMENSION_ERROR


def animation() -> bytes:
    file = io.BytesIO()
    frames = [Image.fromarray(np.ascontiguousarray(p)) for p in (PIXELS, PIXELS[::-1], PIXELS[:, ::-1])]
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    return file.getvalue()


def test_of_an_animation_the_first_image_is_decoded() -> None:
    np.testing.assert_array_equal(RasterFile(animation(), MAX).decode().pixels, PIXELS)


def test_a_canvas_over_the_limit_is_refused_before_libwebp_allocates_it() -> None:
    data = bytearray(animation())
    at = data.index(b"VP8X") + 12
    data[at : at + 6] = (16_000).to_bytes(3, "little") * 2
    assert refusal(bytes(data)) is ImageCode.IMAGE_DIMENSION_ERROR


def test_a_profile_is_read_and_a_second_one_makes_it_unusable() -> None:
    profile = bytes(range(200))
    data = encode(PIXELS, "WEBP", icc_profile=profile)
    assert RasterFile(data, MAX).decode().icc_profile == profile
    at = data.index(b"ICCP")
    chunk = data[at : at + 8 + len(profile)]
    twice = data[:4] + (len(data) + len(chunk) - 8).to_bytes(4, "little") + data[8:at] + chunk + data[at:]
    assert RasterFile(twice, MAX).decode().icc_profile == b""


def test_a_cut_off_webp_is_an_image_error() -> None:
    data = animation()
    for size in (10, 20, 40, len(data) // 2, len(data) - 1):
        assert refusal(data[:size]) is ImageCode.IMAGE_ERROR


def test_runs_of_a_bmp_are_not_unfolded_in_this_process() -> None:
    rows = b"".join(b"\xa0\x05\x00\x00" for _ in range(100)) + b"\x00\x01"
    palette = b"".join(bytes((i, i, i, 0)) for i in range(256))
    header = (40).to_bytes(4, "little") + (160).to_bytes(4, "little") + (100).to_bytes(4, "little")
    header += b"\1\0\x08\0\1\0\0\0" + len(rows).to_bytes(4, "little") + bytes(8) + (256).to_bytes(4, "little")
    header = header.ljust(40, b"\0")
    start = 14 + len(header) + len(palette)
    size = (start + len(rows)).to_bytes(4, "little")
    data = b"BM" + size + bytes(4) + start.to_bytes(4, "little") + header + palette + rows
    file = RasterFile(data, MAX)
    assert not file.in_process
    assert (file.decode().pixels == 5).all()
    large = data[:18] + (30_000).to_bytes(4, "little") * 2 + data[26:]
    assert refusal(large) is ImageCode.IMAGE_DIMENSION_ERROR
