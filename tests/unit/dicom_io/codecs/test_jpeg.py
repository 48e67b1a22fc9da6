"""JPEG in every way of coding colours: libjpeg's pixels where it has nothing to say, else an error."""

from __future__ import annotations

import io
import re
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from dicom_io.codecs.encoded_image import DamagedImage
from dicom_io.codecs.frame import decode_frame, decodes_in_process, recognised_syntax
from dicom_io.codecs.frame_format import FrameError, FrameFormat
from dicom_io.codecs.jpeg_markers import read_jpeg_header
from dicom_io.codecs.raster import RasterFile
from dicom_io.errors import ImageCode, ImageError
from tests.support.slides import CODINGS, JPEG, stained
from tests.support.tissue import encode, tissue

MAX = 1_000_000
TILE = np.ascontiguousarray(stained(256, 256))
OPTIONS: list[dict[str, Any]] = [
    {"subsampling": 0}, {"subsampling": 1}, {"subsampling": 2}, {"progressive": True}, {"quality": 20},
    {"keep_rgb": True}, {"restart_marker_blocks": 3},
]  # fmt: skip


def file_error(data: bytes) -> ImageError:
    with pytest.raises(ImageError) as caught:
        RasterFile(data, MAX).decode()
    return caught.value


def form(photometric: str, samples: int = 3) -> FrameFormat:
    return FrameFormat(256, 256, samples, photometric, 0)


def holed(data: bytes) -> bytes:
    """Return an image without a third of its scan; markers and end are kept."""
    scan = data.index(b"\xff\xda")
    third = (len(data) - scan) // 3
    return data[: scan + third] + data[scan + 2 * third :]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_files_are_decoded_as_pillow_does(mode: str, options: dict[str, Any]) -> None:
    data = encode(Image.fromarray(tissue()[:223, :225]).convert(mode), "JPEG", **options)
    if mode == "CMYK" and options.get("subsampling"):  # two of three inks: no encoder in use does so
        assert "4:2:0" in str(file_error(data))
        return
    truth = np.atleast_3d(np.asarray(Image.open(io.BytesIO(data))))
    np.testing.assert_array_equal(RasterFile(data, MAX).decode().pixels, truth)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"keep_rgb": True}])
def test_a_file_with_a_hole_is_an_error_though_its_end_is_there(mode: str, options: dict[str, Any]) -> None:
    data = encode(Image.fromarray(tissue()).convert(mode), "JPEG", quality=90, **options)
    Image.open(io.BytesIO(holed(data))).load()  # Pillow does not mind
    assert file_error(holed(data)).code is ImageCode.IMAGE_ERROR


@pytest.mark.parametrize("name", [name for name, coding in CODINGS.items() if coding.syntax == JPEG])
def test_a_frame_with_a_hole_is_an_error_though_its_end_is_there(name: str) -> None:
    coding = CODINGS[name]
    with pytest.raises(FrameError):
        decode_frame(holed(coding.encode(TILE)), JPEG, form(coding.photometric, coding.samples))


def test_zeros_before_the_end_are_no_damage() -> None:
    data = encode(TILE, "JPEG", quality=92, subsampling=0)
    padded = data[:-2] + bytes(6) + data[-2:]
    whole, filled = (decode_frame(one, JPEG, form("YBR_FULL")) for one in (data, padded))
    np.testing.assert_array_equal(whole, filled)


def test_zeros_that_fill_up_before_restart_markers_are_no_damage() -> None:
    data = encode(TILE, "JPEG", quality=92, subsampling=1, restart_marker_rows=4)
    start = data.index(b"\xff\xda")
    filled = data[:start] + re.sub(rb"(?=\xff[\xd0-\xd7])", bytes(4), data[start:])
    truth = decode_frame(data, JPEG, form("YBR_FULL_422"))
    np.testing.assert_array_equal(decode_frame(filled, JPEG, form("YBR_FULL_422")), truth)
    other = data[:start] + re.sub(rb"(?=\xff[\xd0-\xd7])", b"\x12\x34\x56\x78", data[start:])
    with pytest.raises(FrameError):
        decode_frame(other, JPEG, form("YBR_FULL_422"))
    with pytest.raises(FrameError):
        decode_frame(holed(filled), JPEG, form("YBR_FULL_422"))


@pytest.mark.parametrize("oddity", ["scan parameters", "JFIF revision", "Adobe transform"])
def test_headers_that_libjpeg_warns_of_and_ignores_are_no_damage(oddity: str) -> None:
    data = bytearray(encode(TILE, "JPEG"))
    truth = np.asarray(Image.open(io.BytesIO(bytes(data))))
    scan = data.index(b"\xff\xda")
    if oddity == "scan parameters":
        data[scan + 12] = 0
    elif oddity == "JFIF revision":
        data[data.index(b"JFIF") + 5] = 7
    else:
        data[scan:scan] = b"\xff\xee\x00\x0eAdobe\x00\x64" + bytes(4) + b"\x02"
        jfif = data.index(b"\xff\xe0")
        del data[jfif : jfif + 18]
    np.testing.assert_array_equal(RasterFile(bytes(data), MAX).decode().pixels, truth)
    assert file_error(holed(bytes(data))).code is ImageCode.IMAGE_ERROR


@pytest.mark.parametrize("subsampling", [1, 2])
def test_subsampled_components_without_a_marker_are_ycbcr_whatever_the_label(subsampling: int) -> None:
    whole = encode(TILE, "JPEG", subsampling=subsampling)
    bare = whole[:2] + whole[4 + int.from_bytes(whole[4:6], "big") :]
    truth = np.asarray(Image.open(io.BytesIO(whole)))
    np.testing.assert_array_equal(decode_frame(bare, JPEG, form("RGB")), truth)


def test_a_profile_that_is_not_whole_spoils_the_transform_not_the_picture() -> None:
    from dicom_io.colour.profiles import IccTarget, target_profile

    profile = target_profile(IccTarget.ADOBERGB) + bytes(140_000)
    data = encode(tissue(), "JPEG", icc_profile=profile)
    parts = [m.start() for m in re.finditer(rb"\xff\xe2..ICC_PROFILE\0", data, re.DOTALL)]
    ends = [at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") for at in parts]
    segments = [data[a:b] for a, b in zip(parts, ends, strict=True)]
    assert len(segments) == 3
    before, after = data[: parts[0]], data[ends[-1] :]
    truth = RasterFile(before + after, MAX).decode()
    assert truth.icc_profile is None
    for order, whole in (
        ((0, 1, 2), True), ((2, 0, 1), True), ((0, 1), False), ((0, 2), False), ((0, 1, 2, 1), False),
        ((0, 0, 1), False),
    ):  # fmt: skip
        raster = RasterFile(before + b"".join(segments[i] for i in order) + after, MAX).decode()
        np.testing.assert_array_equal(raster.pixels, truth.pixels)
        assert raster.icc_profile == (profile if whole else b"")


def test_lossless_jpeg_is_refused_by_name_and_never_read_as_baseline() -> None:
    data = bytes(imagecodecs.jpeg8_encode(TILE, lossless=True))
    assert recognised_syntax(data, form("RGB")) == "1.2.840.10008.1.2.4.70"
    with pytest.raises(FrameError, match="lossless JPEG"):
        decode_frame(data, JPEG, form("RGB"))
    assert "lossless JPEG" in str(file_error(data))


@pytest.mark.parametrize(
    ("process", "name"), [(0xC9, "arithmetic"), (0xC5, "hierarchical"), (0xF7, "JPEG-LS")]
)
def test_other_processes_are_refused_by_name(process: int, name: str) -> None:
    data = encode(TILE, "JPEG").replace(b"\xff\xc0", bytes((0xFF, process)), 1)
    assert name in str(file_error(data))


def test_twelve_bits_are_refused() -> None:
    data = bytearray(encode(TILE, "JPEG"))
    data[data.index(b"\xff\xc0") + 4] = 12
    assert "12-bit" in str(file_error(bytes(data)))
    with pytest.raises(FrameError, match="12 bits"):
        decode_frame(bytes(data), JPEG, form("YBR_FULL"))


def test_more_scans_than_an_encoder_makes_are_refused_before_they_are_decoded() -> None:
    data = encode(TILE, "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    many = data[:-2] + data[last:-2] * 200 + b"\xff\xd9"
    with pytest.raises(DamagedImage, match="scans"):
        read_jpeg_header(many).require_decodable()
    assert "scans" in str(file_error(many))


def test_only_one_pass_over_the_bytes_is_made_in_this_process() -> None:
    plain = encode(TILE, "JPEG")
    assert decodes_in_process(plain, JPEG)
    assert RasterFile(plain, MAX).in_process
    assert RasterFile(plain + plain, MAX).in_process  # what is behind the end is nobody's scan
    planes = bytearray(plain)
    planes[planes.index(b"\xff\xda") + 4] = 1
    for other in (encode(TILE, "JPEG", progressive=True), bytes(planes)):
        assert not decodes_in_process(other, JPEG)
        assert not RasterFile(other, MAX).in_process


def test_a_huge_image_is_refused_by_its_header() -> None:
    data = bytearray(encode(TILE, "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = (50_000).to_bytes(2, "big") * 2
    assert file_error(bytes(data)).code is ImageCode.IMAGE_DIMENSION_ERROR
