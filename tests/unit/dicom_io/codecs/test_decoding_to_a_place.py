"""Images that are decoded to where they are wanted: the same pixels and faults, without a copy."""

from __future__ import annotations

import random
import struct
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from dicom_io.codecs.encoded_image import DamagedImage
from dicom_io.codecs.jpeg import decode_jpeg
from dicom_io.codecs.jpeg_markers import read_jpeg_header
from dicom_io.codecs.raster import RasterFile
from dicom_io.errors import ImageError
from tests.support.tissue import encode, tissue

SIDE = 48
TISSUE = Image.fromarray(tissue(SIDE, SIDE))
PROFILE = bytes(400)


DIRECT = {
    "JPEG": encode(TISSUE, "JPEG", quality=90),
    "JPEG 4:4:4 with a profile": encode(TISSUE, "JPEG", subsampling=0, icc_profile=PROFILE),
    "JPEG with restart markers": encode(TISSUE, "JPEG", restart_marker_rows=1),
    "PNG": encode(TISSUE, "PNG", icc_profile=PROFILE),
}
OTHERS = {
    "gray JPEG": encode(TISSUE.convert("L"), "JPEG"),
    "CMYK JPEG": encode(TISSUE.convert("CMYK"), "JPEG"),
    "gray PNG": encode(TISSUE.convert("L"), "PNG"),
    "PNG with alpha": encode(TISSUE.convert("RGBA"), "PNG"),
    "PNG of a palette": encode(TISSUE.convert("P"), "PNG"),
    "BMP": encode(TISSUE, "BMP"),
}


def place() -> np.ndarray:
    return np.full((SIDE, SIDE, 3), 77, np.uint8)


def outcome(data: bytes, to: np.ndarray | None) -> tuple[str, object, object]:
    """Return what comes of an image that is decoded in this process; of one that is not, nothing."""
    try:
        file = RasterFile(data, SIDE * SIDE)
        if not file.in_process or (file.width, file.height) != (SIDE, SIDE):
            return "not here", None, None
        raster = file.decode(to)
    except ImageError as error:
        return str(error.fault.code), str(error), None
    return "pixels", raster.pixels.tobytes(), raster.icc_profile


@pytest.mark.parametrize("name", DIRECT)
def test_colour_images_are_decoded_where_they_are_wanted(name: str) -> None:
    wanted = place()
    raster = RasterFile(DIRECT[name], SIDE * SIDE).decode(wanted)
    assert raster.pixels is wanted
    np.testing.assert_array_equal(wanted, RasterFile(DIRECT[name], SIDE * SIDE).decode().pixels)


@pytest.mark.parametrize("name", OTHERS)
def test_images_of_other_channels_or_formats_leave_the_place_alone(name: str) -> None:
    wanted = place()
    RasterFile(OTHERS[name], SIDE * SIDE).decode(wanted)
    np.testing.assert_array_equal(wanted, place())


@pytest.mark.parametrize("name", [*DIRECT, *OTHERS])
def test_damaged_images_give_the_same_pixels_and_sentences_wherever_they_are_decoded(name: str) -> None:
    whole = (DIRECT | OTHERS)[name]
    chance = random.Random(name)
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 1, 3))):
            data[chance.randrange(len(data))] = chance.choice((0, 0xFF, 0xD9, chance.randrange(256)))
        damaged = bytes(data[: chance.choice((len(data), len(data), chance.randrange(len(data))))])
        assert outcome(damaged, place()) == outcome(damaged, None)


def forged(marker: int, side: int) -> bytes:
    """Return a JPEG image of one side, which is SIDE to whoever takes a marker for a segment."""
    whole = encode(tissue(side, side), "JPEG")
    at = whole.index(b"\xff\xc0")
    end = at + 2 + int.from_bytes(whole[at + 2 : at + 4], "big")
    frame = whole[at:end]
    said = frame[:5] + struct.pack(">HH", SIDE, SIDE) + frame[9:]
    # As a segment it is of FFFE bytes; as a marker without a length it stands before a comment, FF FE, then
    # the frame, then a longer comment, which ends where the frame that is said does.
    hidden = b"\xff\xfe\x00\x02" + frame
    filling = bytes(0xFFFE - len(hidden) - 4)
    comment = b"\xff\xfe" + struct.pack(">H", 2 + len(filling) + len(said)) + filling
    return whole[:at] + bytes((0xFF, marker)) + hidden + comment + said + whole[end:]


@pytest.mark.parametrize("side", [SIDE // 2, 2 * SIDE])
@pytest.mark.parametrize("marker", [0x00, 0x01, 0xD0, 0xD7])
def test_a_marker_that_has_no_length_hides_no_other_size(marker: int, side: int) -> None:
    data = forged(marker, side)
    for wanted in (None, place()):
        assert outcome(data, wanted)[0] == "IMAGE_ERROR"


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("side", [SIDE // 2, SIDE - 1, 2 * SIDE])
def test_an_image_of_another_size_than_its_header_said_is_damaged_and_fills_no_place_in_part(
    side: int, mode: str
) -> None:
    data = encode(TISSUE.convert(mode).resize((side, side)), "JPEG")
    header = replace(read_jpeg_header(data), width=SIDE, height=SIDE)
    for wanted in (None, place()) if mode == "RGB" else (None,):
        with pytest.raises(DamagedImage):
            decode_jpeg(data, header, place=wanted)
