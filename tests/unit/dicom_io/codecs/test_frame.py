from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_io.codecs.frame import DECODERS, decode_frame, decodes_in_process, recognised_syntax
from dicom_io.codecs.frame_format import FrameError, FrameFormat
from dicom_io.codecs.jpeg_markers import JpegColour, read_jpeg_header
from tests.support.slides import CODINGS, DEFLATED, EXPLICIT, IMPLICIT, JPEG, stained

TILE = np.ascontiguousarray(stained(256, 256)[:, :, :])


def form_of(name: str) -> FrameFormat:
    coding = CODINGS[name]
    return FrameFormat(256, 256, coding.samples, coding.photometric, coding.planar)


@pytest.mark.parametrize("name", CODINGS)
def test_half_a_frame_is_a_frame_error(name: str) -> None:
    data = CODINGS[name].encode(TILE)
    with pytest.raises(FrameError):
        decode_frame(data[: len(data) // 2], CODINGS[name].syntax, form_of(name))


@pytest.mark.parametrize("name", CODINGS)
def test_a_frame_that_is_padded_to_an_even_length_decodes_alike(name: str) -> None:
    data, syntax, form = CODINGS[name].encode(TILE), CODINGS[name].syntax, form_of(name)
    np.testing.assert_array_equal(decode_frame(data + b"\0", syntax, form), decode_frame(data, syntax, form))


@pytest.mark.parametrize("name", CODINGS)
def test_a_frame_of_another_size_than_the_metadata_say_is_a_frame_error(name: str) -> None:
    data = CODINGS[name].encode(TILE)
    coding = CODINGS[name]
    for width, height in ((128, 256), (512, 512)):
        form = FrameFormat(width, height, coding.samples, coding.photometric, coding.planar)
        with pytest.raises(FrameError):
            decode_frame(data, coding.syntax, form)


@pytest.mark.parametrize(
    "name", ["JPEG", "JPEG 2000 lossless", "JPEG XL lossless", "HTJ2K lossless", "JPEG-LS"]
)
def test_a_frame_is_recognised_by_its_first_bytes(name: str) -> None:
    syntax = recognised_syntax(CODINGS[name].encode(TILE), form_of(name))
    assert syntax is not None
    np.testing.assert_array_equal(
        decode_frame(CODINGS[name].encode(TILE), syntax, form_of(name)),
        decode_frame(CODINGS[name].encode(TILE), CODINGS[name].syntax, form_of(name)),
    )


@pytest.mark.parametrize("name", CODINGS)
def test_only_what_is_safe_and_bounded_is_decoded_in_this_process(name: str) -> None:
    coding = CODINGS[name]
    own = coding.syntax in (IMPLICIT, EXPLICIT, DEFLATED, JPEG)
    assert decodes_in_process(coding.encode(TILE), coding.syntax) == own


@given(st.sampled_from(sorted(DECODERS)), st.binary(max_size=100))
def test_any_bytes_are_a_frame_error(syntax: str, data: bytes) -> None:
    with pytest.raises(FrameError):
        decode_frame(data, syntax, FrameFormat(256, 256, 3, "RGB", 0))


def test_an_image_of_a_bomb_is_refused_before_it_is_decoded() -> None:
    data = bytearray(imagecodecs.jpeg2k_encode(TILE, level=0, codecformat="J2K"))
    data[8:16] = (60_000).to_bytes(4, "big") * 2
    with pytest.raises(FrameError, match="60000x60000"):
        decode_frame(bytes(data), "1.2.840.10008.1.2.4.90", form_of("JPEG 2000 lossless"))


@pytest.mark.parametrize(
    ("name", "colour"),
    [
        ("JPEG", JpegColour.YCBCR),
        ("JPEG without JFIF", JpegColour.UNSAID),
        ("JPEG RGB", JpegColour.RGB),
        ("JPEG RGB without Adobe", JpegColour.UNSAID),
    ],
)
def test_the_markers_say_how_colours_are_coded(name: str, colour: JpegColour) -> None:
    header = read_jpeg_header(CODINGS[name].encode(TILE))
    assert (header.width, header.height, header.components, header.precision) == (256, 256, 3, 8)
    assert header.colour is colour
