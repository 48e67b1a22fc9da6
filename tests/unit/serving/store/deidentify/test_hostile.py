from __future__ import annotations

import struct
import zlib

import pytest

from serving.store.deidentify.elements import MAX_DEPTH
from serving.store.deidentify.refused import Cause, Refused
from tests.support.planted import planted_slide
from tests.support.raw_dicom import (
    END_OF_ITEM,
    END_OF_SEQUENCE,
    UNDEFINED,
    data_set,
    element,
    encapsulated,
    file_of,
    item,
    minimal,
)
from tests.support.slides import CODINGS, DEFLATED, EXPLICIT, IMPLICIT, JPEG, stained
from tests.unit.serving.store.deidentify.conftest import Clean

DEEP = 10_000
KEPT, UNLISTED, PRIVATE = 0x00400560, 0x00081140, 0x00091001


def refused(clean: Clean, data: bytes) -> None:
    with pytest.raises(Refused) as raised:
        clean(data)
    assert raised.value.cause is Cause.DAMAGED


def with_element(tag: int, written: bytes, *, explicit: bool = True) -> bytes:
    bodies = {t: element(t, *e, explicit=explicit) for t, e in minimal().items()} | {tag: written}
    return file_of(b"".join(bodies[t] for t in sorted(bodies)), EXPLICIT if explicit else IMPLICIT)


def nested(tag: int, vr: str, depth: int, *, explicit: bool = True) -> bytes:
    """Return sequences of unknown length within each other; those in an unknown element are implicit."""
    start = element(tag, vr, b"", length=UNDEFINED, explicit=explicit) + item(b"", length=UNDEFINED)
    inner = element(tag, vr, b"", length=UNDEFINED, explicit=explicit and vr == "SQ") + item(
        b"", length=UNDEFINED
    )
    return start + inner * (depth - 1) + (END_OF_ITEM + END_OF_SEQUENCE) * depth


@pytest.mark.parametrize("explicit", [True, False])
@pytest.mark.parametrize("tag", [KEPT, UNLISTED, PRIVATE], ids=["kept", "not listed", "private"])
@pytest.mark.parametrize("vr", ["SQ", "UN"])
def test_sequences_ten_thousand_deep_are_refused(tag: int, vr: str, explicit: bool, clean: Clean) -> None:
    refused(clean, with_element(tag, nested(tag, vr, DEEP, explicit=explicit), explicit=explicit))
    clean(with_element(tag, nested(tag, vr, MAX_DEPTH, explicit=explicit), explicit=explicit))


def test_sequences_of_known_length_are_no_deeper(clean: Clean) -> None:
    written = b""
    for _ in range(500):
        written = element(KEPT, "SQ", item(written))
    refused(clean, with_element(KEPT, written))


@pytest.mark.parametrize(
    "tag", [KEPT, UNLISTED, PRIVATE, 0x00080060, 0x00090010], ids=lambda tag: f"{tag:08X}"
)
@pytest.mark.parametrize("length", [0x7FFFFFFE, 0xFFFFFFFE, 1000])
def test_lengths_beyond_the_file_are_refused(tag: int, length: int, clean: Clean) -> None:
    for vr in ("SQ", "UT"):
        refused(clean, with_element(tag, element(tag, vr, b"", length=length)))


def test_lengths_beyond_an_item_are_refused(clean: Clean) -> None:
    inner = element(0x00400551, "LO", b"abc", length=200)
    refused(clean, with_element(KEPT, element(KEPT, "SQ", item(inner))))
    refused(clean, with_element(KEPT, element(KEPT, "SQ", item(b"", length=90))))
    refused(clean, with_element(KEPT, element(KEPT, "SQ", element(0x00400551, "LO", b"no item"))))


def test_an_item_whose_length_looks_like_a_representation_is_one(clean: Clean) -> None:
    for length in (int.from_bytes(b"LO\0\0", "little"), int.from_bytes(b"OB\0\0", "little")):
        inner = element(0x00400600, "UT", b"A" * (length - 12))
        written, _ = clean(with_element(KEPT, element(KEPT, "SQ", item(inner))))
        assert b"AAA" not in written


def test_a_sequence_without_an_end_is_refused(clean: Clean) -> None:
    start = element(KEPT, "SQ", b"", length=UNDEFINED)
    for open_ended in (start, start + item(b"", length=UNDEFINED), start + item(b"")):
        refused(
            clean, file_of(data_set(minimal(t7FE00010=None, t00480010=None, t00480006=None)) + open_ended)
        )


def test_attributes_out_of_order_or_twice_are_refused(clean: Clean) -> None:
    body = data_set(minimal())
    name = element(0x00080060, "CS", b"SM")
    refused(clean, file_of(name + body))
    refused(clean, file_of(body.replace(name, name + name)))


def test_a_file_that_is_cut_off_anywhere_is_refused(clean: Clean) -> None:
    whole = planted_slide(sizes=((256, 256),)).files[0]
    pixels = whole.rindex(struct.pack("<HH", 0x7FE0, 0x0010))
    for end in [
        *range(0, 700),
        *range(700, pixels, 97),
        *range(pixels, pixels + 60),
        (pixels + len(whole)) // 2,
    ]:
        refused(clean, whole[:end])


@pytest.mark.parametrize("coding", ["explicit", "deflated", "implicit"])
def test_uncompressed_files_that_are_cut_off_are_refused(coding: str, clean: Clean) -> None:
    plain = CODINGS[coding].syntax
    body = data_set(minimal(), explicit=coding != "implicit")
    if coding == "deflated":
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        body = packer.compress(body) + packer.flush()
    for end in range(0, len(body) - 1, 7):
        refused(clean, file_of(body[:end], plain))
    clean(file_of(body, plain))


def test_a_deflated_data_set_that_unfolds_to_far_more_than_it_is_is_refused(clean: Clean) -> None:
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    start = data_set({t: e for t, e in minimal().items() if t < 0x00080060})
    huge = element(0x00081190, "UT", b"", length=0xF0000000)
    packed = packer.compress(start + huge) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(1 << 23)) + packer.flush(zlib.Z_FULL_FLUSH)
    refused(clean, file_of(packed + block * 60, DEFLATED))


def test_what_follows_the_pixels_goes(clean: Clean) -> None:
    for tail in (
        element(0xFFFCFFFC, "OB", b"PHIKOWALSKI"),
        b"PHIKOWALSKI",
        element(0x7FE10010, "LO", b"PHIKOWALSKI"),
    ):
        written, found = clean(file_of(data_set(minimal()) + tail))
        assert b"KOWALSKI" not in written
        assert found.removed["after the pixels"] == 1


def test_bytes_after_the_last_uncompressed_pixel_go(clean: Clean) -> None:
    pixels = bytes(range(192))
    written, found = clean(file_of(data_set(minimal(t7FE00010=("OB", pixels + b"PHIKOWALSKI")))))
    assert written.endswith(pixels)
    assert found.removed["part of a frame"] == 1


def test_more_uids_than_slides_have_are_refused(clean: Clean) -> None:
    items = b"".join(item(element(0x00400554, "UI", f"1.2.3.{number}".encode())) for number in range(11_000))
    refused(clean, with_element(KEPT, element(KEPT, "SQ", items)))


@pytest.mark.parametrize(
    "pixels",
    [
        element(0x7FE00010, "OB", b"not in fragments"),
        encapsulated(),
        encapsulated(b"", table=bytes(3)),
        encapsulated(b"\xff\xd8\xff\xd9")[:-8],
        encapsulated(b"\xff\xd8\xff\xd9").replace(END_OF_SEQUENCE, item(b"", length=1 << 31)),
        encapsulated(b"\xff\xd8\xff\xd9").replace(END_OF_SEQUENCE, element(0x00080060, "CS", b"SM")),
        encapsulated(b"\xff\xd8\xff\xd9", b"\xff\xd8\xff\xd9", table=struct.pack("<II", 0, 5)),
    ],
    ids=["no fragments", "empty", "table", "no end", "length", "no fragment", "coding"],
)
def test_damaged_fragments_are_refused(pixels: bytes, clean: Clean) -> None:
    refused(clean, file_of(data_set(minimal(t7FE00010=None)) + pixels, JPEG))


def test_frames_that_nothing_tells_apart_are_refused(clean: Clean) -> None:
    tile = CODINGS["JPEG"].encode(stained(8, 8))
    elements = minimal(t7FE00010=None, t00280008=("IS", b"2"))
    for fragments in (1, 3):
        refused(clean, file_of(data_set(elements) + encapsulated(*[tile] * fragments), JPEG))
    table = struct.pack("<II", 0, len(tile) + 7)
    refused(clean, file_of(data_set(elements) + encapsulated(tile, tile, tile, table=table), JPEG))
