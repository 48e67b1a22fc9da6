"""RLE Lossless: its segments are checked before they are unfolded, and unfold into no more than a frame."""

from __future__ import annotations

import struct
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_io.codecs.encoded_image import DamagedImage
from dicom_io.codecs.rle import decode_rle
from tests.support.slides import CODINGS, stained

TILE = np.ascontiguousarray(stained(64, 48))
DATA = CODINGS["RLE"].encode(TILE)
OFFSETS = struct.unpack_from("<16I", DATA)


def with_table(*table: int, data: bytes = DATA) -> bytes:
    return struct.pack("<16I", *table, *([0] * (16 - len(table)))) + data[64:]


def unfolded(segment: bytes, size: int) -> bytes:
    """Undo PackBits by the words of PS3.5, G.3.2."""
    out, at = bytearray(), 0
    while at < len(segment) and len(out) < size:
        count = segment[at]
        if count < 128:
            out += segment[at + 1 : at + 2 + count]
            at += 2 + count
        else:
            out += segment[at + 1 : at + 2] * (257 - count) if count > 128 else b""
            at += 2 if count > 128 else 1
    return bytes(out[:size])


def test_pixels_are_those_that_were_written() -> None:
    np.testing.assert_array_equal(decode_rle(DATA, 64, 48, 3), TILE)


@pytest.mark.parametrize(
    "data",
    [
        b"", DATA[:63], DATA[:64], DATA[: OFFSETS[3]], DATA[:-40],
        with_table(2, *OFFSETS[1:3]),
        with_table(0),
        with_table(15, *OFFSETS[1:]),
        with_table(3, 64, 64, 64),
        with_table(3, 64, OFFSETS[3], OFFSETS[2]),
        with_table(3, 64, OFFSETS[2], 0x7FFFFFFF),
        with_table(3, 0, OFFSETS[2], OFFSETS[3]),
        with_table(3, 64, OFFSETS[2], len(DATA)),
        with_table(3, 64, 65, 66),
    ],
)  # fmt: skip
def test_a_table_that_does_not_fit_is_an_error(data: bytes) -> None:
    with pytest.raises(DamagedImage):
        decode_rle(data, 64, 48, 3)


def test_a_segment_that_unfolds_to_more_than_the_frame_is_an_error() -> None:
    bomb = struct.pack("<16I", 1, 64, *([0] * 14)) + b"\x81\xff" * 50_000
    with pytest.raises(DamagedImage, match="longer than the frame"):
        decode_rle(bomb, 64, 48, 1)


def test_segments_may_be_padded() -> None:
    padded = struct.pack("<16I", 1, 64, *([0] * 14)) + DATA[OFFSETS[1] : OFFSETS[2]] + b"\0"
    np.testing.assert_array_equal(decode_rle(padded, 64, 48, 1)[:, :, 0], TILE[:, :, 0])


@given(st.integers(0, len(DATA) - 1), st.integers(0, 255), st.booleans())
def test_damaged_frames_are_what_the_standard_says_or_an_error(place: int, value: int, cut: bool) -> None:
    data = bytearray(DATA)
    if cut:
        del data[place:]
    else:
        data[place] = value
    try:
        pixels = decode_rle(bytes(data), 64, 48, 3)
    except DamagedImage:
        return
    bounds = [*struct.unpack_from("<3I", data, 4), len(data)]
    planes = [unfolded(bytes(data[a:b]), 64 * 48) for a, b in pairwise(bounds)]
    np.testing.assert_array_equal(pixels.transpose(2, 0, 1).tobytes(), b"".join(planes))
