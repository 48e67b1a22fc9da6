"""Numbers stay, and neither letters nor dates or numbers of records in their shape."""

from __future__ import annotations

import struct

import pytest

from serving.store.deidentify.keeping.codes import known_code
from serving.store.deidentify.keeping.keep_list import KEEP_LIST
from serving.store.deidentify.keeping.pseudonyms import Pseudonyms
from tests.unit.serving.store.deidentify.conftest import KEY

LETTERS = (b"KOWALSKI", b"Kowalska", b"19630512", b"QXKJQXKJ", b"AAAAAAAA")
SIZES = {b"US": 2, b"UL": 4, b"SL": 4, b"FL": 4, b"FD": 8, b"AT": 4}
BINARY = [tag for tag, kept in KEEP_LIST.items() if kept.vr in SIZES]
WRITTEN = [tag for tag, kept in KEEP_LIST.items() if kept.vr in (b"DS", b"IS")]


def kept(tag: int, value: bytes) -> bytes | None:
    rule = KEEP_LIST[tag].rule
    assert callable(rule)
    return rule(value, Pseudonyms(KEY))


@pytest.mark.parametrize("tag", BINARY, ids=lambda tag: f"{tag:08X}")
@pytest.mark.parametrize("word", LETTERS)
def test_letters_are_no_binary_numbers(tag: int, word: bytes) -> None:
    for size in (1, 2, 4, 6, 8):
        value = word[: SIZES[KEEP_LIST[tag].vr]] * size
        found = kept(tag, value)
        # Rows and columns are held to the pixels.
        assert found is None or tag in (0x00280010, 0x00280011) or word[:4] not in found


@pytest.mark.parametrize("tag", WRITTEN, ids=lambda tag: f"{tag:08X}")
@pytest.mark.parametrize("number", [b"19630512", b"5120317794", b"-19630512.5", b"19630512e-3"])
def test_dates_and_numbers_of_records_are_no_numbers_of_slides(tag: int, number: bytes) -> None:
    assert [count for count in (1, 2, 6) if kept(tag, b"\\".join([number] * count))] == []


@pytest.mark.parametrize("day", [19_630_512, 20_261_129])
def test_dates_are_no_integers_of_slides(day: int) -> None:
    for tag in BINARY:
        if KEEP_LIST[tag].vr in (b"UL", b"SL"):
            assert kept(tag, struct.pack("<I", day)) is None


@pytest.mark.parametrize("number", [0.17, 1.0, 15.347, 550.0, 26.1, 25000.0])
def test_ordinary_numbers_stay_as_they_are(number: float) -> None:
    for name, tag in (("f", 0x00480001), ("d", 0x00500013)):
        if tag in KEEP_LIST:
            value = struct.pack(f"<{name}", number)
            assert kept(tag, value) == value


@pytest.mark.parametrize(
    "spacing", [b"0.00025202\\0.00025202", b"2.5e-4\\2.5E-4", b".00049999999999999999\\5"]
)
def test_pixel_spacings_of_many_digits_stay(spacing: bytes) -> None:
    assert kept(0x00280030, spacing) == spacing


def test_pointers_lead_to_attributes_of_dicom() -> None:
    assert kept(0x00209165, struct.pack("<HH", 0x0048, 0x021E))
    for group, number in ((0x0048, 0x4F4B), (0x0040, 0x5A5A), (0x0010, 0x0010), (0x0049, 0x0010)):
        assert kept(0x00209165, struct.pack("<HH", group, number)) is None


def test_numbers_of_cases_are_no_codes() -> None:
    assert [known_code("SRT", value) for value in ("S-12345", "H-2021", "B-00123", "K-1999")] == [None] * 4
    assert known_code("SRT", "T-04000") is not None
