"""JPEG 2000 and HTJ2K: what the codestream says of itself outweighs what is written around it."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest

from dicom_io.codecs.encoded_image import DamagedImage
from dicom_io.codecs.frame import decode_frame, recognised_syntax
from dicom_io.codecs.frame_format import FrameError, FrameFormat
from dicom_io.codecs.jpeg2000 import read_codestream, require_whole
from dicom_io.codecs.raster import RasterFile
from dicom_io.errors import ImageCode, ImageError
from tests.support.codestreams import box, enumerated, jp2, subsampled
from tests.support.slides import rgb_to_ybr, stained, ybr_to_rgb
from tests.support.tissue import UInt8Array

TILE = np.ascontiguousarray(stained(256, 256))
YBR = rgb_to_ybr(TILE)
J2K, HTJ2K, HTJ2K_LOSSY = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.203")
LABELS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")


def j2k(pixels: UInt8Array, *, mct: bool = True) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="J2K", mct=mct))


def decode(data: bytes, photometric: str, syntax: str = J2K, samples: int = 3) -> UInt8Array:
    return decode_frame(data, syntax, FrameFormat(256, 256, samples, photometric, 0))


def levels_off(pixels: UInt8Array, truth: UInt8Array) -> int:
    return int(np.abs(pixels.astype(int) - truth).max())


def file_pixels(data: bytes) -> UInt8Array:
    return RasterFile(data, 1_000_000).decode().pixels


def refusal(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        file_pixels(data)
    assert caught.value.code is ImageCode.IMAGE_ERROR
    return str(caught.value)


@pytest.mark.parametrize("label", LABELS)
def test_a_component_transform_gives_rgb_whatever_the_label(label: str) -> None:
    np.testing.assert_array_equal(decode(j2k(TILE), label), TILE)
    np.testing.assert_array_equal(decode(bytes(imagecodecs.htj2k_encode(TILE)), label, HTJ2K), TILE)


@pytest.mark.parametrize("label", LABELS)
def test_without_a_component_transform_the_label_says_what_the_components_are(label: str) -> None:
    stored, truth = (TILE, TILE) if label == "RGB" else (YBR, ybr_to_rgb(YBR))
    assert levels_off(decode(j2k(stored, mct=False), label), truth) <= 1
    data = bytes(imagecodecs.htj2k_encode(stored, rgb=False))
    assert levels_off(decode(data, label, HTJ2K), truth) <= 1


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize(("dx", "dy"), [(2, 1), (2, 2)])
def test_subsampled_components_are_expanded_once(dx: int, dy: int, label: str) -> None:
    expanded = YBR.copy()
    expanded[:, :, 1:] = YBR[::dy, ::dx, 1:].repeat(dy, axis=0).repeat(dx, axis=1)
    assert levels_off(decode(subsampled(YBR, dx, dy), label), ybr_to_rgb(expanded)) <= 1


def test_lossy_htj2k_keeps_what_is_white() -> None:
    bright = TILE.copy()
    bright[:128] = np.random.default_rng(1).integers(240, 256, (128, 256, 3))
    data = bytes(imagecodecs.htj2k_encode(bright, reversible=False))
    assert levels_off(decode(data, "YBR_ICT", HTJ2K_LOSSY), bright) <= 6
    assert levels_off(imagecodecs.htj2k_decode(data), bright) > 200  # the other decoder lets it overflow


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
def test_what_is_cut_off_is_an_error_though_its_end_is_put_back(kept: float, end: bytes) -> None:
    for data, syntax in (
        (j2k(TILE), J2K),
        (bytes(imagecodecs.htj2k_encode(TILE)), HTJ2K),
        (bytes(imagecodecs.htj2k_encode(TILE, reversible=False)), HTJ2K_LOSSY),
        (bytes(imagecodecs.htj2k_encode(TILE, tile=(64, 64), tlm=True)), HTJ2K),
    ):
        with pytest.raises(FrameError):
            decode(data[: int(len(data) * kept)] + end, "RGB", syntax)


def test_a_tile_that_is_missing_is_an_error() -> None:
    data = bytes(imagecodecs.htj2k_encode(TILE, tile=(128, 128)))
    last = data.rindex(b"\xff\x90\x00\x0a")
    with pytest.raises(FrameError, match="1 of its 4 tiles"):
        decode(data[:last] + b"\xff\xd9", "RGB", HTJ2K)


def test_packets_that_there_are_no_bytes_for_are_refused_before_they_are_allocated() -> None:
    data = bytearray(j2k(TILE))
    at = data.index(b"\xff\x52") + 6
    data[at : at + 2] = (65_535).to_bytes(2, "big")  # layers
    stream = read_codestream(bytes(data))
    with pytest.raises(DamagedImage, match="packets"):
        require_whole(bytes(data), stream)


def test_components_of_other_depths_are_refused() -> None:
    signed, deep = bytearray(j2k(TILE)), bytearray(j2k(TILE))
    for at in (42, 45, 48):
        signed[at], deep[at] = 0x87, 11
    for data in (signed, deep):
        with pytest.raises(FrameError, match="bits"):
            decode(bytes(data), "RGB")
        refusal(bytes(data))


def test_frames_within_jp2_boxes_are_recognised_and_read() -> None:
    form = FrameFormat(256, 256, 3, "RGB", 0)
    boxed = jp2(j2k(TILE), enumerated(16))
    assert recognised_syntax(boxed, form) == "1.2.840.10008.1.2.4.91"
    np.testing.assert_array_equal(decode(boxed, "RGB"), TILE)
    order = channel_definitions((0, 0, 3), (1, 0, 2), (2, 0, 1))
    with pytest.raises(FrameError, match="redefine"):
        decode(jp2(j2k(TILE), enumerated(16), order), "RGB")
    high = jp2(bytes(imagecodecs.htj2k_encode(TILE)), enumerated(16))
    assert recognised_syntax(high, form) == "1.2.840.10008.1.2.4.203"


def channel_definitions(*rows: tuple[int, int, int]) -> bytes:
    body = len(rows).to_bytes(2, "big") + b"".join(v.to_bytes(2, "big") for row in rows for v in row)
    return box(b"cdef", body)


def test_channel_definitions_are_honoured() -> None:
    blue_first = j2k(np.ascontiguousarray(TILE[:, :, ::-1]), mct=False)
    order = channel_definitions((0, 0, 3), (1, 0, 2), (2, 0, 1))
    np.testing.assert_array_equal(file_pixels(jp2(blue_first, enumerated(16), order)), TILE)
    alpha_first = j2k(np.dstack([TILE[:, :, :1] // 2, TILE]), mct=False)
    order = channel_definitions((0, 1, 0), (1, 0, 1), (2, 0, 2), (3, 0, 3))
    np.testing.assert_array_equal(file_pixels(jp2(alpha_first, enumerated(16), order)), TILE)
    gray_and_alpha = j2k(np.ascontiguousarray(TILE[:, :, :2]), mct=False)
    order = channel_definitions((0, 1, 0), (1, 0, 1))
    np.testing.assert_array_equal(file_pixels(jp2(gray_and_alpha, enumerated(17), order)), TILE[:, :, 1:2])


@pytest.mark.parametrize(
    "rows",
    [
        [(0, 0, 1), (1, 0, 1), (2, 0, 3)],
        [(0, 0, 1), (1, 0, 2)],
        [(0, 0, 1), (1, 0, 2), (5, 0, 3)],
        [(0, 0xFFFF, 1), (1, 0, 2), (2, 0, 3)],
    ],
)
def test_channel_definitions_that_do_not_name_each_colour_are_refused(
    rows: list[tuple[int, int, int]],
) -> None:
    refusal(jp2(j2k(TILE, mct=False), enumerated(16), channel_definitions(*rows)))


def test_sycc_files_become_rgb() -> None:
    assert levels_off(file_pixels(jp2(j2k(YBR, mct=False), enumerated(18))), ybr_to_rgb(YBR)) <= 1
    data = jp2(subsampled(YBR, 2, 2), enumerated(18))
    expanded = YBR.copy()
    expanded[:, :, 1:] = YBR[::2, ::2, 1:].repeat(2, axis=0).repeat(2, axis=1)
    assert levels_off(file_pixels(data), ybr_to_rgb(expanded)) <= 1


def test_palettes_are_looked_up() -> None:
    indices = (TILE[:, :, 1] // 16).astype(np.uint8)
    colours = np.random.default_rng(2).integers(0, 256, (16, 3), np.uint8)
    palette = box(b"pclr", b"\0\x10\3\7\7\7" + colours.tobytes())
    mapping = box(b"cmap", b"\0\0\1\0\0\0\1\1\0\0\1\2")
    data = jp2(j2k(indices), enumerated(16), palette, mapping)
    np.testing.assert_array_equal(file_pixels(data), colours[indices])
    few = box(b"pclr", b"\0\x08\3\7\7\7" + colours[:8].tobytes())
    refusal(jp2(j2k(indices), enumerated(16), few, mapping))
    refusal(jp2(j2k(indices), enumerated(16), palette))
    deep = box(b"pclr", b"\0\x10\3\x0f\x0f\x0f" + bytes(96))
    refusal(jp2(j2k(indices), enumerated(16), deep, mapping))


def test_colour_spaces_that_are_not_known_are_refused() -> None:
    assert "colour space" in refusal(jp2(j2k(TILE), enumerated(14)))


def test_samples_of_few_bits_fill_the_range() -> None:
    gray = (TILE[:, :, 1] >> 4).astype(np.uint8)
    data = bytes(imagecodecs.jpeg2k_encode(gray, level=0, codecformat="J2K", bitspersample=4))
    np.testing.assert_array_equal(file_pixels(data)[:, :, 0], gray * 17)
