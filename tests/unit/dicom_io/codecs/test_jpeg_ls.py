"""JPEG-LS: an image is whole by its markers before a decoder spends seconds on it."""

from __future__ import annotations

import time

import imagecodecs
import numpy as np
import pytest

from dicom_io.codecs.frame import decode_frame
from dicom_io.codecs.frame_format import FrameError, FrameFormat
from dicom_io.codecs.jpeg_ls import read_jpeg_ls_header
from tests.support.codestreams import jpeg_ls_planes
from tests.support.slides import stained
from tests.support.tissue import UInt8Array

TILE = np.ascontiguousarray(stained(256, 256))
DATA = bytes(imagecodecs.jpegls_encode(TILE))
SYNTAX = "1.2.840.10008.1.2.4.80"


def decode(data: bytes, samples: int = 3) -> UInt8Array:
    photometric = "RGB" if samples == 3 else "MONOCHROME2"
    return decode_frame(data, SYNTAX, FrameFormat(256, 256, samples, photometric, 0))


def test_every_interleaving_is_read() -> None:
    np.testing.assert_array_equal(decode(DATA), TILE)
    np.testing.assert_array_equal(decode(jpeg_ls_planes(TILE)), TILE)
    gray = bytes(imagecodecs.jpegls_encode(TILE[:, :, 0].copy()))
    np.testing.assert_array_equal(decode(gray, 1)[:, :, 0], TILE[:, :, 0])


@pytest.mark.parametrize("kept", [0.001, 0.01, 0.3, 0.9, 0.999])
def test_what_is_cut_off_is_refused_at_once(kept: float) -> None:
    for data in (DATA, jpeg_ls_planes(TILE)):
        started = time.process_time()
        with pytest.raises(FrameError):
            decode(data[: int(len(data) * kept)])
        assert time.process_time() - started < 0.5


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.99])
def test_what_is_cut_off_is_an_error_though_its_end_is_put_back(kept: float) -> None:
    for data in (DATA, jpeg_ls_planes(TILE)):
        with pytest.raises(FrameError):
            decode(data[: int(len(data) * kept)].rstrip(b"\xff") + b"\xff\xd9")


def test_a_scan_that_is_missing_is_an_error() -> None:
    data = jpeg_ls_planes(TILE)
    with pytest.raises(FrameError, match="scans"):
        decode(data[: data.rindex(b"\xff\xda\x00\x08")] + b"\xff\xd9")


def test_other_sizes_components_and_depths_are_refused_before_decoding() -> None:
    at = DATA.index(b"\xff\xf7")
    for offset, value in ((4, 12), (5, 99), (7, 99), (9, 1), (11, 0x21)):
        data = DATA[: at + offset] + bytes([value]) + DATA[at + offset + 1 :]
        with pytest.raises(FrameError):
            decode(data)


def test_a_header_says_what_was_encoded() -> None:
    header = read_jpeg_ls_header(DATA)
    assert (header.width, header.height, header.components, header.precision) == (256, 256, 3, 8)
