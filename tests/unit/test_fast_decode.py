"""The fast decoders give Pillow's pixels, or leave the image to Pillow."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dicom_io.fast_decode import decode_fast
from tests.support.tissue import UInt8Array, encode, tissue


def both(data: bytes) -> tuple[UInt8Array | None, UInt8Array]:
    """Return what the fast decoder gives, and Pillow."""
    fast = decode_fast(Image.open(io.BytesIO(data)), data)
    image = Image.open(io.BytesIO(data))
    pixels = np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGBA"))
    return fast, np.atleast_3d(pixels)[:, :, :3]


JPEG_OPTIONS: list[dict[str, Any]] = [
    {"subsampling": 0}, {"subsampling": 1}, {"subsampling": 2}, {"progressive": True}, {"quality": 20},
    {"keep_rgb": True}, {"restart_marker_blocks": 3},
]  # fmt: skip


@pytest.mark.parametrize("options", JPEG_OPTIONS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpegs_are_decoded_alike(mode: str, options: dict[str, Any]) -> None:
    fast, slow = both(encode(Image.fromarray(tissue()[:223, :225]).convert(mode), "JPEG", **options))
    assert fast is not None
    np.testing.assert_array_equal(fast, slow)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
@pytest.mark.parametrize("level", [0, 1, 9])
def test_pngs_are_decoded_alike(mode: str, level: int) -> None:
    fast, slow = both(
        encode(Image.fromarray(tissue()[:223, :225]).convert(mode), "PNG", compress_level=level)
    )
    assert fast is not None
    np.testing.assert_array_equal(fast, slow)


def test_other_images_are_left_to_pillow() -> None:
    image = Image.fromarray(tissue()[:99, :99])
    for other in ("P", "LA", "1"):
        data = encode(image.convert(other), "PNG")
        assert decode_fast(Image.open(io.BytesIO(data)), data) is None
    for data in (
        encode(image.convert("CMYK"), "JPEG"),
        encode(image, "TIFF"),
        encode(image, "PNG", transparency=(1, 2, 3)),
    ):
        assert decode_fast(Image.open(io.BytesIO(data)), data) is None


@given(st.sampled_from(["PNG", "JPEG"]), st.floats(0, 1), st.integers(0, 7), st.booleans())
def test_a_damaged_image_is_never_decoded_to_other_pixels_than_pillows(
    kind: str, where: float, bit: int, cut: bool
) -> None:
    data = bytearray(encode(tissue()[:64, :80], kind))
    place = int(where * (len(data) - 1))
    if cut:
        del data[place:]
    else:
        data[place] ^= 1 << bit
    try:
        image = Image.open(io.BytesIO(bytes(data)))
        slow = np.atleast_3d(np.asarray(image.copy()))
    except Exception:
        slow = None
    try:
        fast = decode_fast(Image.open(io.BytesIO(bytes(data))), bytes(data))
    except Exception:
        return  # the header is damaged: it is not opened
    if fast is not None and slow is not None:
        np.testing.assert_array_equal(fast, slow[:, :, : fast.shape[2]])
    if slow is None and cut:
        assert fast is None
