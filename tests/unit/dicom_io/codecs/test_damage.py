"""Cut anywhere, flip anything: right pixels or an error, in every coding, and no process dies of it.

What is right is said by another decoder, or by the pixels that were encoded: a cut never shows.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from dicom_io.codecs.frame_format import NATIVE, FrameFormat
from tests.support.decode_child import DecodeChild
from tests.support.slides import CODINGS, stained, ybr_to_rgb
from tests.support.tissue import UInt8Array, encode

TILE = np.ascontiguousarray(stained(64, 64))
CODED = [name for name, coding in CODINGS.items() if coding.syntax not in NATIVE]
ENDS = {"JPEG": b"\xff\xd9", "HTJ2K": b"\xff\xd9"}
FILES: dict[str, dict[str, object]] = {
    "PNG": {},
    "JPEG": {},
    "JPEG2000": {},
    "TIFF": {"compression": "tiff_lzw"},
    "WEBP": {"lossless": True},
    "JXL": {},
    "BMP": {},
}

deterministic = settings(
    derandomize=True, max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
places = st.floats(0, 1, exclude_max=True)


@pytest.fixture(scope="module")
def child() -> Iterator[DecodeChild]:
    with DecodeChild() as started:
        yield started
        assert started.deaths == 0


@cache
def frame(name: str) -> bytes:
    return CODINGS[name].encode(TILE)


def form(name: str) -> FrameFormat:
    coding = CODINGS[name]
    return FrameFormat(64, 64, coding.samples, coding.photometric, coding.planar)


@cache
def truth(name: str) -> UInt8Array:
    coding = CODINGS[name]
    seen = TILE if coding.truth is None else coding.truth(TILE)
    return seen[:, :, :1] if coding.samples == 1 else seen


def flipped(data: bytes, where: float, bit: int) -> bytes:
    at = int(where * len(data))
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


@pytest.mark.parametrize("name", CODED)
@deterministic
@given(where=places, restored=st.booleans())
def test_a_frame_that_is_cut_anywhere_is_an_error_or_whole(
    child: DecodeChild, name: str, where: float, restored: bool
) -> None:
    data = frame(name)[: int(where * len(frame(name)))]
    if restored:
        data += ENDS.get(name.split(maxsplit=1)[0], b"")
    pixels = child.frame(data, CODINGS[name].syntax, form(name))
    if pixels is not None:
        assert np.abs(pixels.astype(int) - truth(name)).max() <= CODINGS[name].tolerance


@pytest.mark.parametrize("name", CODED)
@deterministic
@given(where=places, bit=st.integers(0, 7), header=st.booleans())
def test_a_frame_with_a_flipped_bit_is_what_another_decoder_sees_or_an_error(
    child: DecodeChild, name: str, where: float, bit: int, header: bool
) -> None:
    data = flipped(frame(name), where * min(1.0, 200 / len(frame(name))) if header else where, bit)
    pixels = child.frame(data, CODINGS[name].syntax, form(name))
    if pixels is None:
        return
    assert pixels.shape == truth(name).shape
    if name in ("JPEG", "JPEG gray") or name.startswith(("JPEG 2000", "HTJ2K")):
        other = np.atleast_3d(np.asarray(Image.open(io.BytesIO(data))))  # libjpeg and OpenJPEG of Pillow
        seen = [other]
        if "YBR" in CODINGS[name].photometric:  # the flip may be that of the component transform's flag
            seen.append(ybr_to_rgb(other))
        assert min(np.abs(pixels.astype(int) - one).max() for one in seen) <= 1


@pytest.mark.parametrize("kind", FILES)
@deterministic
@given(where=places)
def test_a_file_that_is_cut_anywhere_is_an_error_or_whole(
    child: DecodeChild, kind: str, where: float
) -> None:
    data = encode(TILE, kind, **FILES[kind])
    whole = child.image(data)
    assert whole is not None
    pixels = child.image(data[: int(where * len(data))])
    if pixels is not None:
        np.testing.assert_array_equal(pixels, whole)


@pytest.mark.parametrize("kind", FILES)
@deterministic
@given(where=places, bit=st.integers(0, 7))
def test_no_process_dies_of_a_file_with_a_flipped_bit(
    child: DecodeChild, kind: str, where: float, bit: int
) -> None:
    child.image(flipped(encode(TILE, kind, **FILES[kind]), where, bit))
