"""Every format and kind of pixels, against what was encoded."""

from __future__ import annotations

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from dicom_io.codecs.raster import RasterFile
from dicom_io.colour.profiles import IccTarget, target_profile
from dicom_io.errors import ImageCode, ImageError
from tests.support.codestreams import box, jp2
from tests.support.tissue import UInt8Array, encode, tissue

MAX = 1_000_000


def decode(data: bytes, max_pixels: int = MAX) -> UInt8Array:
    return RasterFile(data, max_pixels).decode().pixels


def code_of(data: bytes, max_pixels: int = MAX) -> ImageCode:
    with pytest.raises(ImageError) as caught:
        decode(data, max_pixels)
    return caught.value.code


def bomb(width: int = 60_000, height: int = 60_000) -> bytes:
    """Return a valid PNG of a few kB that claims to be huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(4_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


LOSSLESS: dict[str, dict[str, object]] = {
    "PNG": {},
    "TIFF": {"compression": "tiff_lzw"},
    "BMP": {},
    "WEBP": {"lossless": True},
    "JPEG2000": {},
    "JXL": {"lossless": True},
}


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_formats_give_the_same_pixels(kind: str) -> None:
    np.testing.assert_array_equal(decode(encode(tissue(), kind, **LOSSLESS[kind])), tissue())


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "JXL", "JPEG2000"])
def test_lossy_formats_give_nearly_the_same_pixels(kind: str) -> None:
    settings: dict[str, dict[str, object]] = {
        "JPEG2000": {"quality_layers": [20], "irreversible": True},
        "JXL": {"distance": 1.0},
    }
    options = settings.get(kind, {"quality": 90})
    pixels = decode(encode(tissue(), kind, **options)).astype(int)
    assert np.abs(pixels - tissue()).mean() < 6


def test_gray_has_one_channel_and_alpha_is_dropped() -> None:
    gray = tissue()[:, :, 0]
    alpha = np.full_like(gray, 9)
    for mode, planes in {"L": [gray], "LA": [gray, alpha]}.items():
        image = Image.merge(mode, [Image.fromarray(p) for p in planes])
        np.testing.assert_array_equal(decode(encode(image)), gray[:, :, np.newaxis])
    image = Image.fromarray(np.dstack([tissue(), alpha]))
    for kind in ("PNG", "TIFF"):
        np.testing.assert_array_equal(decode(encode(image, kind)), tissue())


def test_palette_and_bilevel_images_are_expanded() -> None:
    palette = Image.fromarray(tissue()).quantize(64)
    np.testing.assert_array_equal(decode(encode(palette)), np.asarray(palette.convert("RGB")))
    bilevel = Image.fromarray(tissue()).convert("1")
    np.testing.assert_array_equal(decode(encode(bilevel))[:, :, 0], np.asarray(bilevel.convert("L")))


def test_a_cmyk_jpeg_keeps_its_inks_the_right_way_round() -> None:
    inks = Image.fromarray(tissue()).convert("CMYK")
    pixels = decode(encode(inks, "JPEG", quality=95))
    assert pixels.shape == (512, 512, 4)
    assert np.abs(pixels.astype(int) - np.asarray(inks)).mean() < 3


def test_sixteen_bit_images_are_refused() -> None:
    gray = Image.fromarray(tissue()[:, :, 0].astype(np.uint16) * 257)
    for kind in ("PNG", "TIFF", "JPEG2000"):
        assert code_of(encode(gray, kind)) is ImageCode.IMAGE_ERROR


def test_sixteen_bit_colour_png_is_refused_though_pillow_would_reduce_it() -> None:
    import cv2

    done, data = cv2.imencode(".png", tissue().astype(np.uint16) * 257)
    assert done
    assert Image.open(io.BytesIO(data.tobytes())).mode == "RGB"
    assert code_of(data.tobytes()) is ImageCode.IMAGE_ERROR
    done, data = cv2.imencode(".tiff", tissue().astype(np.uint16) * 257)
    assert done
    assert code_of(data.tobytes()) is ImageCode.IMAGE_ERROR
    done, data = cv2.imencode(".jp2", tissue().astype(np.uint16) * 257)
    if done:  # OpenCV builds without a JPEG 2000 encoder cannot make one
        assert code_of(data.tobytes()) is ImageCode.IMAGE_ERROR


def test_float_images_are_refused_with_the_reason() -> None:
    floats = Image.fromarray(tissue()[:, :, 0].astype(np.float32))
    with pytest.raises(ImageError, match="float"):
        decode(encode(floats, "TIFF"))


@pytest.mark.parametrize("kind", [*LOSSLESS, "JPEG"])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.95])
def test_a_cut_off_image_is_an_image_error(kind: str, part: float) -> None:
    data = encode(tissue(), kind, **LOSSLESS.get(kind, {}))
    assert code_of(data[: int(len(data) * part)]) is ImageCode.IMAGE_ERROR


@pytest.mark.parametrize(
    "data", [b"", b"x", b"plain text that somebody renamed to .png", bytes(1000), b"GIF89a" + bytes(50)]
)
def test_what_is_no_image_is_an_image_error(data: bytes) -> None:
    assert code_of(data) is ImageCode.IMAGE_ERROR


def test_formats_that_were_not_asked_for_are_refused() -> None:
    for kind in ("GIF", "PPM", "TGA"):
        assert code_of(encode(tissue(), kind)) is ImageCode.IMAGE_ERROR


def test_a_bomb_is_refused_by_its_header() -> None:
    data = bomb()
    assert len(data) < 10_000
    assert code_of(data, 100_000_000) is ImageCode.IMAGE_DIMENSION_ERROR


@pytest.mark.parametrize("kind", [*LOSSLESS, "JPEG"])
def test_every_format_is_held_to_the_limit_of_pixels(kind: str) -> None:
    data = encode(tissue(), kind, **LOSSLESS.get(kind, {}))
    assert decode(data, 512 * 512).shape == (512, 512, 3)
    assert code_of(data, 512 * 512 - 1) is ImageCode.IMAGE_DIMENSION_ERROR


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_the_embedded_profile_is_found(kind: str) -> None:
    profile = target_profile(IccTarget.ADOBERGB)
    raster = RasterFile(encode(tissue(), kind, icc_profile=profile), MAX).decode()
    assert raster.icc_profile == profile


def test_the_profile_of_a_jp2_file_is_found() -> None:
    profile = target_profile(IccTarget.ADOBERGB)
    codestream = bytes(imagecodecs.jpeg2k_encode(tissue(64, 64), level=0, codecformat="J2K"))
    data = jp2(codestream, box(b"colr", b"\x02\0\0" + profile))
    assert RasterFile(data, MAX).decode().icc_profile == profile


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [2, 3, 6, 8])
def test_no_orientation_is_applied(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    pixels = tissue()[:100, :160]
    options = {"JPEG": {"quality": 95}}.get(kind, LOSSLESS.get(kind, {}))
    data = encode(pixels, kind, exif=exif, **options)
    raster = decode(data)
    assert raster.shape == (100, 160, 3)
    assert np.abs(raster.astype(int) - pixels).mean() < 4
    assert (RasterFile(data, MAX).width, RasterFile(data, MAX).height) == (160, 100)


def test_only_formats_that_are_read_in_one_bounded_pass_are_decoded_in_this_process() -> None:
    own = {kind for kind in [*LOSSLESS, "JPEG"] if RasterFile(encode(tissue(), kind), MAX).in_process}
    assert own == {"PNG", "JPEG", "BMP"}


def test_headers_are_read_without_any_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a decoder was called")

    files = [encode(tissue(), kind, **LOSSLESS.get(kind, {})) for kind in [*LOSSLESS, "JPEG"]]
    for name in ("jpeg2k", "htj2k", "jpegxl", "spng", "webp", "tiff", "jpeg8"):
        monkeypatch.setattr(imagecodecs, f"{name}_decode", forbidden)
    monkeypatch.setattr("PIL._webp.WebPAnimDecoder", forbidden)
    for data in files:
        assert RasterFile(data, MAX).width == 512
