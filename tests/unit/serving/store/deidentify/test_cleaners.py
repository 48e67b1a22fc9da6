"""Each codec's frames keep their pixels and lose all else."""

from __future__ import annotations

import io
import struct

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from dicom_io.codecs.encoded_image import DamagedImage
from dicom_io.codecs.frame import decode_frame
from dicom_io.codecs.frame_format import FrameFormat
from serving.store.deidentify.cleaners.pieces import FrameShape
from serving.store.deidentify.cleaners.syntaxes import CLEANERS
from tests.support.codestreams import box, jp2
from tests.support.slides import CODINGS, stained

SIDE = 64
TILE = np.ascontiguousarray(stained(256, 256)[:SIDE, :SIDE])
COMPRESSED = [name for name, coding in CODINGS.items() if coding.syntax in CLEANERS]
WORD = b"PHIKOWALSKI"


def clean(coding: str, frame: bytes) -> tuple[bytes, int]:
    made = CODINGS[coding]
    cleaned = CLEANERS[made.syntax]()(frame, FrameShape(SIDE, SIDE, made.samples, 1))
    assert cleaned.size == sum(map(len, cleaned.pieces))
    return b"".join(cleaned.pieces), cleaned.removed


def pixels(coding: str, frame: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    made = CODINGS[coding]
    return decode_frame(
        frame, made.syntax, FrameFormat(SIDE, SIDE, made.samples, made.photometric, made.planar)
    )


def assert_same_pixels(coding: str, frame: bytes, cleaned: bytes) -> None:
    assert np.array_equal(pixels(coding, frame), pixels(coding, cleaned))
    assert clean(coding, cleaned) == (cleaned, 0)  # nothing is left to clean


@pytest.mark.parametrize("coding", COMPRESSED)
def test_pixels_stay_the_same(coding: str) -> None:
    frame = CODINGS[coding].encode(TILE)
    assert_same_pixels(coding, frame, clean(coding, frame)[0])
    assert_same_pixels(coding, frame, clean(coding, frame + b"\0")[0])


@pytest.mark.parametrize("coding", COMPRESSED)
def test_bytes_after_a_frame_go_or_the_frame_is_refused(coding: str) -> None:
    frame = CODINGS[coding].encode(TILE)
    try:
        cleaned, removed = clean(coding, frame + WORD)
    except DamagedImage:
        assert coding.startswith("JPEG XL")
        return
    assert WORD not in cleaned
    assert removed >= 1
    assert_same_pixels(coding, frame, cleaned)


@pytest.mark.parametrize("coding", COMPRESSED)
def test_frames_that_are_cut_off_are_refused(coding: str) -> None:
    frame = clean(coding, CODINGS[coding].encode(TILE))[0]
    for end in [*range(0, 80), len(frame) // 2, len(frame) - 3]:
        with pytest.raises(DamagedImage):
            clean(coding, frame[:end])


@pytest.mark.parametrize("coding", [name for name in COMPRESSED if name != "RLE"])
def test_frames_of_another_size_than_rows_and_columns_are_refused(coding: str) -> None:
    made = CODINGS[coding]
    frame = made.encode(TILE)
    for shape in (FrameShape(SIDE - 1, SIDE, made.samples, 1), FrameShape(SIDE, 2 * SIDE, made.samples, 1)):
        with pytest.raises(DamagedImage, match="size"):
            CLEANERS[made.syntax]()(frame, shape)


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(body)) + body


JPEGS = [
    name
    for name in COMPRESSED
    if name.startswith("JPEG") and CODINGS[name].syntax.endswith((".50", ".80", ".81"))
]


@pytest.mark.parametrize("coding", JPEGS)
@pytest.mark.parametrize("marker", [0xFE, *range(0xE0, 0xF0)], ids=lambda marker: f"{marker:02X}")
def test_words_in_the_segments_of_a_jpeg_go(coding: str, marker: int) -> None:
    frame = CODINGS[coding].encode(TILE)
    for body in (
        WORD,
        b"Exif\0\0" + WORD,
        b"ICC_PROFILE\0\1\1" + WORD,
        b"JFIF\0" + WORD * 2,
        b"Adobe" + WORD,
    ):
        planted = frame[:2] + segment(marker, body) + frame[2:]
        cleaned, removed = clean(coding, planted)
        assert WORD not in cleaned
        assert removed >= 1


def progressive() -> bytes:
    file = io.BytesIO()
    Image.fromarray(TILE).save(file, "JPEG", progressive=True, quality=90)
    return file.getvalue()


def test_words_between_the_scans_of_a_jpeg_go() -> None:
    frame = progressive()
    second = frame.index(b"\xff\xda", frame.index(b"\xff\xda") + 2)
    tables = frame.rindex(b"\xff\xc4", 0, second)
    for at in (tables, second):
        cleaned, removed = clean("JPEG", frame[:at] + segment(0xFE, WORD) + frame[at:])
        assert (WORD in cleaned, removed) == (False, 1)
        assert np.array_equal(imagecodecs.jpeg8_decode(cleaned), imagecodecs.jpeg8_decode(frame))


def test_a_thumbnail_and_what_a_jfif_segment_has_room_for_go() -> None:
    frame = CODINGS["JPEG"].encode(TILE)
    start = frame.index(b"JFIF")
    for body in (frame[start : start + 12] + b"\2\1PHIKOW", b"JFIF\0\1\2PHIKO\0\0"):
        cleaned, _ = clean("JPEG", frame[:2] + segment(0xE0, body) + frame[start + 14 :])
        assert b"PHIK" not in cleaned
        assert b"JFIF" in cleaned
        assert_same_pixels("JPEG", frame, cleaned)


@pytest.mark.parametrize("marker", [0x51, 0x52])
def test_words_behind_what_a_segment_of_jpeg_2000_holds_are_refused(marker: int) -> None:
    frame = CODINGS["JPEG 2000 lossless"].encode(TILE)
    at = frame.index(bytes([0xFF, marker]))
    (length,) = struct.unpack_from(">H", frame, at + 2)
    planted = frame[:at] + segment(marker, frame[at + 4 : at + 2 + length] + WORD) + frame[at + 2 + length :]
    with pytest.raises(DamagedImage):
        clean("JPEG 2000 lossless", planted)


def main_segment(frame: bytes, marker: int) -> tuple[int, int]:
    """Return where a segment of the main header begins and ends."""
    at = frame.index(bytes([0xFF, marker]), 2, frame.index(b"\xff\x90"))
    return at, at + 2 + int.from_bytes(frame[at + 2 : at + 4], "big")


@pytest.mark.parametrize("coding", [name for name in COMPRESSED if "2000" in name or "HTJ2K" in name])
def test_words_behind_the_step_sizes_of_jpeg_2000_are_refused(coding: str) -> None:
    frame = CODINGS[coding].encode(TILE)
    at, end = main_segment(frame, 0x5C)
    planted = frame[:at] + segment(0x5C, frame[at + 4 : end] + WORD + b"!") + frame[end:]
    with pytest.raises(DamagedImage):
        clean(coding, planted)


@pytest.mark.parametrize("coding", [name for name in COMPRESSED if "2000" in name or "HTJ2K" in name])
@pytest.mark.parametrize(
    "marker",
    [0x50, 0x52, 0x53, 0x55, 0x5D, 0x5E, 0x5F, 0x60, 0x61, 0x78, 0x30],
    ids=lambda marker: f"{marker:02X}",
)
def test_words_in_any_other_segment_of_jpeg_2000_are_refused(coding: str, marker: int) -> None:
    frame = CODINGS[coding].encode(TILE)
    at = frame.index(b"\xff\x90")
    for word in (WORD, WORD + b"!!!", b"\0" + WORD, b"\0\0" + WORD):
        with pytest.raises(DamagedImage):
            clean(coding, frame[:at] + segment(marker, word) + frame[at:])


@pytest.mark.parametrize("coding", [name for name in COMPRESSED if "2000" in name or "HTJ2K" in name])
@pytest.mark.parametrize("marker", [0x56, 0x57, 0x58, 0x59, 0x63, 0x64], ids=lambda marker: f"{marker:02X}")
def test_segments_of_jpeg_2000_that_no_decoder_needs_go(coding: str, marker: int) -> None:
    frame = CODINGS[coding].encode(TILE)
    at = frame.index(b"\xff\x90")
    cleaned, _ = clean(coding, frame[:at] + segment(marker, WORD) + frame[at:])
    assert cleaned == clean(coding, frame)[0]


@pytest.mark.parametrize("coding", [name for name in COMPRESSED if name != "RLE" and "XL" not in name])
def test_frames_of_other_components_than_samples_are_refused(coding: str) -> None:
    made = CODINGS[coding]
    with pytest.raises(DamagedImage, match="components"):
        CLEANERS[made.syntax]()(made.encode(TILE), FrameShape(SIDE, SIDE, 4 - made.samples, 1))


@pytest.mark.parametrize("marker", [0xC0, 0xC4, 0xDA, 0xDB, 0xDD])
def test_words_behind_what_a_segment_holds_are_refused(marker: int) -> None:
    frame = CODINGS["JPEG"].encode(TILE)
    if marker == 0xDD:
        planted = frame[:2] + segment(marker, b"\0\0" + WORD) + frame[2:]
    else:
        at = frame.index(bytes([0xFF, marker]))
        (length,) = struct.unpack_from(">H", frame, at + 2)
        body = frame[at + 4 : at + 2 + length]
        planted = frame[:at] + segment(marker, body + WORD) + frame[at + 2 + length :]
    with pytest.raises(DamagedImage):
        clean("JPEG", planted)


CODESTREAMS = [name for name in COMPRESSED if "2000" in name or "HTJ2K" in name]


@pytest.mark.parametrize("coding", CODESTREAMS)
def test_comments_of_jpeg_2000_go_from_its_main_header(coding: str) -> None:
    frame = CODINGS[coding].encode(TILE)
    at = frame.index(b"\xff\x90")
    cleaned, removed = clean(coding, frame[:at] + segment(0x64, b"\0\1" + WORD) + frame[at:])
    assert WORD not in cleaned
    assert removed >= 1
    assert_same_pixels(coding, frame, cleaned)


@pytest.mark.parametrize("coding", CODESTREAMS)
def test_comments_of_jpeg_2000_go_from_tile_parts_whose_length_is_told_anew(coding: str) -> None:
    frame = CODINGS[coding].encode(TILE)
    at, comment = frame.index(b"\xff\x90"), segment(0x64, b"\0\1" + WORD)
    (size,) = struct.unpack_from(">I", frame, at + 6)
    longer = struct.pack(">I", size + len(comment) if size else 0)
    planted = frame[: at + 6] + longer + frame[at + 10 : at + 12] + comment + frame[at + 12 :]
    if b"\xff\x55" in frame[:at]:  # a table of lengths, which tells the same
        table = frame.index(b"\xff\x55")
        where = frame.index(struct.pack(">I", size), table, at)
        planted = planted[:where] + longer + planted[where + 4 :]
    cleaned, _ = clean(coding, planted)
    assert WORD not in cleaned
    assert cleaned == clean(coding, frame)[0]
    assert_same_pixels(coding, frame, cleaned)


def test_boxes_around_jpeg_2000_go() -> None:
    frame = CODINGS["JPEG 2000 lossless"].encode(TILE)
    boxed = jp2(frame) + box(b"xml ", WORD)
    cleaned, removed = clean("JPEG 2000 lossless", boxed)
    assert cleaned == clean("JPEG 2000 lossless", frame)[0]
    assert removed >= 1


def test_boxes_of_jpeg_xl_go_and_the_picture_stays() -> None:
    frame = bytes(imagecodecs.jpegxl_encode(TILE, lossless=True, usecontainer=True))
    for planted in (
        frame + box(b"Exif", bytes(4) + WORD),
        frame + box(b"xml ", WORD),
        frame[:32] + box(b"jumb", WORD) + frame[32:],
    ):
        cleaned, removed = clean("JPEG XL lossless", planted)
        assert (WORD in cleaned, removed) == (False, 1)
        assert np.array_equal(imagecodecs.jpegxl_decode(cleaned), TILE)


@pytest.mark.parametrize("effort", [1, 7])
@pytest.mark.parametrize("distance", [0.0, 1.0])
@pytest.mark.parametrize("side", [40, 520])
def test_the_end_of_a_jpeg_xl_codestream_is_known(side: int, distance: float, effort: int) -> None:
    tile = np.ascontiguousarray(stained(520, 520)[:side, :side])
    for picture in (tile, np.ascontiguousarray(tile[:, :, 1])):
        data = bytes(
            imagecodecs.jpegxl_encode(picture, lossless=distance == 0, distance=distance, effort=effort)
        )
        cleaner = CLEANERS[CODINGS["JPEG XL lossless"].syntax]()
        shape = FrameShape(side, side, 3, 1)
        assert b"".join(cleaner(data, shape).pieces) == data
        for wrong in (data + WORD, data[:-1]):
            with pytest.raises(DamagedImage):
                cleaner(wrong, shape)


def test_channels_beside_colours_of_jpeg_xl_are_refused_for_their_names() -> None:
    data = bytes(imagecodecs.jpegxl_encode(np.dstack([TILE, TILE[:, :, 0]]), lossless=True))
    with pytest.raises(DamagedImage, match="channels"):
        clean("JPEG XL lossless", data)


@pytest.mark.parametrize("coding", COMPRESSED)
def test_a_cleaner_remembers_nothing_of_a_frame_that_the_next_one_does_not_have(coding: str) -> None:
    made = CODINGS[coding]
    cleaner, shape = CLEANERS[made.syntax](), FrameShape(SIDE, SIDE, made.samples, 1)
    frames = [made.encode(tile) for tile in (TILE, np.ascontiguousarray(TILE[::-1]), 255 - TILE)]
    planted = [frame[:2] + segment(0xFE, WORD) + frame[2:] for frame in frames] if coding in JPEGS else []
    for frame in (frames[0], *planted, *frames, *planted):
        assert b"".join(cleaner(frame, shape).pieces) == clean(coding, frame)[0]


def test_words_between_and_behind_rle_segments_go() -> None:
    frame = CODINGS["RLE"].encode(TILE)
    count, *offsets = struct.unpack_from("<16I", frame)
    parts = [frame[a:b] for a, b in zip(offsets[:count], [*offsets[1:count], len(frame)], strict=True)]
    planted, at = b"", 64
    starts = []
    for part in parts:
        starts.append(at)
        planted += part + WORD + b"!"
        at = 64 + len(planted)
    header = struct.pack("<16I", count, *starts, *struct.unpack("<2I", b"PHIKOWAL"), *[0] * (13 - count))
    cleaned, removed = clean("RLE", header + planted)
    assert removed == count + 1
    assert cleaned.rstrip(b"\0") == frame.rstrip(b"\0")
