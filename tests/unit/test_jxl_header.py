from __future__ import annotations

import imagecodecs
import numpy as np
import pytest

from dicom_io.jxl_header import JxlHeader, is_jxl, read_jxl_header


@pytest.mark.parametrize(
    ("width", "height"),
    [(256, 256), (512, 256), (8, 8), (1, 1), (300, 200), (224, 225), (600, 400), (5000, 3)],
)
def test_the_size_is_what_was_encoded(width: int, height: int) -> None:
    data = bytes(imagecodecs.jpegxl_encode(np.zeros((height, width, 3), np.uint8)))
    assert is_jxl(data)
    assert read_jxl_header(data) == JxlHeader(width, height, 8, False)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_depth_and_kind_are_what_was_encoded(dtype: type) -> None:
    header = read_jxl_header(bytes(imagecodecs.jpegxl_encode(np.zeros((32, 48, 3), dtype))))
    assert (header.width, header.height) == (48, 32)
    assert header.is_float == (dtype is np.float32)
    assert header.bits_per_sample == np.dtype(dtype).itemsize * 8


def test_a_container_is_read_through() -> None:
    data = bytes(imagecodecs.jpegxl_encode(np.zeros((32, 48, 3), np.uint8), usecontainer=True))
    assert read_jxl_header(data).width == 48


@pytest.mark.parametrize("data", [b"\xff\x0a", b"\x00\x00\x00\x0cJXL \x0d\x0a\x87\x0a", b"\xff\x0a\xff"])
def test_a_cut_off_header_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="JPEG XL"):
        read_jxl_header(data)
