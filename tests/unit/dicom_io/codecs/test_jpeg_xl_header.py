from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from dicom_io.codecs.jpeg_xl import open_jxl
from dicom_io.codecs.jpeg_xl_bits import Bits
from dicom_io.codecs.jpeg_xl_colour import JxlColour, read_colour
from dicom_io.codecs.jpeg_xl_header import JxlHeader, is_jxl, read_jxl_header
from dicom_io.colour.profiles import IccTarget, target_profile
from dicom_io.colour.transforms import ColourTransforms
from dicom_io.errors import ImageError
from tests.support.codestreams import box
from tests.support.tissue import encode


@pytest.mark.parametrize(
    ("width", "height"),
    [(256, 256), (512, 256), (8, 8), (1, 1), (300, 200), (224, 225), (600, 400), (5000, 3)],
)
@pytest.mark.parametrize("lossless", [True, False])
def test_the_size_is_what_was_encoded(width: int, height: int, lossless: bool) -> None:
    data = bytes(imagecodecs.jpegxl_encode(np.zeros((height, width, 3), np.uint8), lossless=lossless))
    assert is_jxl(data)
    assert read_jxl_header(data) == JxlHeader(width, height, 8, False, xyb=not lossless)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_depth_and_kind_are_what_was_encoded(dtype: type) -> None:
    header = read_jxl_header(bytes(imagecodecs.jpegxl_encode(np.zeros((32, 48, 3), dtype))))
    assert (header.width, header.height) == (48, 32)
    assert header.is_float == (dtype is np.float32)
    assert header.bits_per_sample == np.dtype(dtype).itemsize * 8


def test_a_container_is_read_through() -> None:
    data = bytes(imagecodecs.jpegxl_encode(np.zeros((32, 48, 3), np.uint8), usecontainer=True))
    assert read_jxl_header(data).width == 48


def container(*boxes: tuple[bytes, bytes]) -> bytes:
    return b"".join(
        box(kind, body) for kind, body in ((b"JXL ", b"\r\n\x87\n"), (b"ftyp", b"jxl \0\0\0\0jxl "), *boxes)
    )


def part(number: int, body: bytes, *, last: bool = False) -> tuple[bytes, bytes]:
    return b"jxlp", (number | last << 31).to_bytes(4, "big") + body


def test_the_parts_of_a_codestream_are_read_as_the_decoder_does() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (32, 48, 3), np.uint8)
    stream = bytes(imagecodecs.jpegxl_encode(pixels))
    for cut in (0, 1, 2, 5, 20):  # the first part may hold the signature only, or nothing
        data = container(part(0, stream[:cut]), (b"Exif", bytes(9)), part(1, stream[cut:], last=True))
        assert (read_jxl_header(data).width, read_jxl_header(data).height) == (48, 32)
        np.testing.assert_array_equal(open_jxl(data, 48 * 32).decode()[0], pixels)
        with pytest.raises(ImageError):
            open_jxl(data, 48 * 32 - 1)


def test_parts_out_of_order_are_refused() -> None:
    stream = bytes(imagecodecs.jpegxl_encode(np.zeros((32, 48, 3), np.uint8)))
    for parts in (
        (part(1, stream),),
        (part(0, stream[:4]), part(2, stream[4:])),
        (part(0, b""), (b"jxlc", stream)),
    ):
        with pytest.raises(ValueError, match="JPEG XL"):
            read_jxl_header(container(*parts))


def test_a_box_that_reaches_to_the_end_and_a_long_one_are_read() -> None:
    stream = bytes(imagecodecs.jpegxl_encode(np.zeros((32, 48, 3), np.uint8)))
    start = container()
    assert read_jxl_header(start + bytes(4) + b"jxlc" + stream).width == 48
    long = (1).to_bytes(4, "big") + b"jxlc" + (16 + len(stream)).to_bytes(8, "big")
    assert read_jxl_header(start + long + stream).width == 48


@pytest.mark.parametrize("shape", [(32, 48), (32, 48, 2), (32, 48, 3), (32, 48, 4)])
def test_channels_beside_colours_are_counted_and_dropped(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(4).integers(0, 256, shape, np.uint8)
    data = bytes(imagecodecs.jpegxl_encode(pixels))
    planes = np.atleast_3d(pixels)
    assert read_jxl_header(data).samples == planes.shape[2]
    found, _ = open_jxl(data, 32 * 48).decode()
    truth = planes[:, :, :3] if planes.shape[2] >= 3 else np.repeat(planes[:, :, :1], 3, axis=2)
    np.testing.assert_array_equal(found, truth)


def test_many_extra_channels_count_as_pixels() -> None:
    planes = np.zeros((9, 64, 64), np.uint8)
    data = bytes(imagecodecs.jpegxl_encode(planes, planar=True, photometric="GRAY"))
    assert read_jxl_header(data).extra_channels == 8
    assert open_jxl(data, 9 * 64 * 64).decode()[0].shape == (64, 64, 3)
    with pytest.raises(ImageError, match="samples"):
        open_jxl(data, 2 * 64 * 64)


def test_the_named_colour_space_is_given_as_a_profile() -> None:
    data = bytes(imagecodecs.jpegxl_encode(np.zeros((32, 48, 3), np.uint8)))
    assert open_jxl(data, 10_000).decode()[1] == target_profile(IccTarget.SRGB)


def test_an_embedded_profile_is_there_but_cannot_be_used() -> None:
    pixels = Image.fromarray(np.zeros((32, 48, 3), np.uint8))
    jpeg = encode(pixels, "JPEG", icc_profile=target_profile(IccTarget.ROMMRGB))
    data = bytes(imagecodecs.jpegxl_encode_jpeg(jpeg))
    assert read_jxl_header(data).colour.embedded
    assert open_jxl(data, 10_000).decode()[1] == b""


def test_colours_that_the_decoder_would_give_as_linear_light_are_refused() -> None:
    embedded = JxlColour(False, True, None, None, None)
    assert JxlHeader(1, 1, xyb=True, colour=embedded).is_linear
    assert not JxlHeader(1, 1, xyb=False, colour=embedded).is_linear
    assert not JxlHeader(1, 1, xyb=True).is_linear


@pytest.mark.parametrize(
    ("fields", "target"),
    [
        ([(0, 1), (0, 1), (0, 2), (1, 2), (2, 2), (9, 4), (0, 1), (2, 2), (11, 4)], IccTarget.DISPLAYP3),
        ([(0, 1), (0, 1), (0, 2), (1, 2), (1, 2), (0, 1), (2, 2), (11, 4)], IccTarget.SRGB),
    ],
)
def test_colour_encodings_are_read_field_by_field(fields: list[tuple[int, int]], target: IccTarget) -> None:
    value = position = 0
    for number, count in fields:
        value |= number << position
        position += count
    colour = read_colour(Bits(value.to_bytes(16, "little")))
    assert colour.curve is not None
    profile = colour.profile()
    transforms = ColourTransforms()
    pixels = np.random.default_rng(5).integers(0, 256, (64, 64, 3), np.uint8)
    same = transforms.to_rgb(profile, target, 3)(pixels)
    assert np.abs(same.astype(int) - pixels).max() <= 1


@pytest.mark.parametrize("data", [b"\xff\x0a", b"\x00\x00\x00\x0cJXL \x0d\x0a\x87\x0a", b"\xff\x0a\xff"])
def test_a_cut_off_header_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="JPEG XL"):
        read_jxl_header(data)
