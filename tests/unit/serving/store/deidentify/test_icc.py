from __future__ import annotations

import io
import struct
from itertools import product

import numpy as np
import pytest
from PIL import ImageCms

from dicom_io.colour.profiles import IccTarget, target_profile
from dicom_io.colour.transforms import IccTransform
from serving.store.deidentify.cleaners.icc import without_text
from tests.support.tissue import UInt8Array

WORD = b"PHIKOWALSKI"
SRGB, ADOBE, ROMM = (
    target_profile(target) for target in (IccTarget.SRGB, IccTarget.ADOBERGB, IccTarget.ROMMRGB)
)
CUBE = np.asarray(list(product(range(0, 256, 15), repeat=3)), np.uint8).reshape(-1, 18, 3)


def profile_of(tags: dict[bytes, bytes], *, version: int = 0x02100000, maker: bytes = bytes(4)) -> bytes:
    """Return a scanner's profile of RGB to Lab."""
    at, table, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += struct.pack(">4sII", name, at + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">I4sI4s4s4s", at + len(body), maker, version, b"scnr", b"RGB ", b"Lab ").ljust(
        36, b"\0"
    )
    return (
        (header + b"acsp").ljust(68, b"\0")
        + struct.pack(">3i", 63190, 65536, 54061).ljust(60, b"\0")
        + table
        + body
    )


def table_of_16_bits() -> bytes:
    """Return a lookup table with curves and a cube that no matrix could do."""
    cube = np.random.default_rng(3).integers(0, 65536, (5, 5, 5, 3), np.uint16).astype(">u2").tobytes()
    ramp = np.linspace(0, 65535, 16).astype(">u2").tobytes()
    matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    return (
        b"mft2"
        + bytes(4)
        + bytes([3, 3, 5, 0])
        + matrix
        + struct.pack(">HH", 16, 16)
        + ramp * 3
        + cube
        + ramp * 3
    )


def seen(profile: bytes) -> UInt8Array:
    return IccTransform(profile, IccTarget.SRGB, 3)(CUBE)


@pytest.mark.parametrize("profile", [SRGB, ADOBE, ROMM], ids=["sRGB", "Adobe", "ROMM"])
def test_colours_of_a_matrix_profile_stay_bit_for_bit(profile: bytes) -> None:
    kept = without_text(profile)
    assert kept is not None
    assert np.array_equal(seen(profile), seen(kept))
    assert without_text(kept) == kept


def test_colours_of_a_table_stay_bit_for_bit_and_words_around_it_go() -> None:
    table = table_of_16_bits()
    text = b"text" + bytes(4) + WORD + b"\0"
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 12) + WORD + b"\0" + bytes(8 + 3 + 67),
        b"cprt": text, b"dmnd": text, b"PHIK": text, b"A2B0": table + WORD, b"targ": text,
    }  # fmt: skip
    profile = profile_of(tags, maker=b"PHIK") + WORD
    kept = without_text(profile)
    assert kept is not None
    assert b"PHI" not in kept
    assert table in kept
    assert np.array_equal(seen(profile), seen(kept))


@pytest.mark.parametrize("with_table", [False, True])
def test_colours_of_stages_stay_bit_for_bit_and_words_behind_them_go(with_table: bool) -> None:
    curve = b"para" + bytes(4) + struct.pack(">HHi", 0, 0, 120_000)
    cube = np.random.default_rng(5).integers(0, 65536, (3, 3, 3, 3), np.uint16).astype(">u2").tobytes()
    table = bytes([3, 3, 3]).ljust(16, b"\0") + bytes([2, 0, 0, 0]) + cube
    a = 32 + 48 + len(table) + -len(table) % 4
    offsets = (32, 0, 0, 80, a) if with_table else (32, 0, 0, 0, 0)
    stages = b"mAB " + bytes(4) + bytes([3, 3, 0, 0]) + struct.pack(">5I", *offsets) + curve * 3
    if with_table:
        stages += table.ljust(a - 80, b"\0") + curve * 3
    profile = profile_of({b"A2B0": stages + WORD}, version=0x04300000)
    kept = without_text(profile)
    assert kept is not None
    assert WORD not in kept
    assert stages in kept
    assert np.array_equal(seen(profile), seen(kept))


def test_words_between_the_stages_of_an_element_go_and_colours_stay() -> None:
    curve = b"para" + bytes(4) + struct.pack(">HHi", 0, 0, 120_000)
    stages = b"mAB " + bytes(4) + bytes([3, 3]) + b"PH" + struct.pack(">5I", 48, 0, 0, 0, 0)
    profile = profile_of({b"A2B0": stages + WORD.ljust(16, b"!") + curve * 3}, version=0x04300000)
    kept = without_text(profile)
    assert kept is not None
    assert b"PH" not in kept
    assert np.array_equal(seen(profile), seen(kept))


def test_a_profile_with_stages_of_unknown_kinds_goes() -> None:
    stages = b"mpet" + bytes(4) + struct.pack(">HHI", 3, 3, 1) + WORD
    assert without_text(profile_of({b"A2B0": table_of_16_bits(), b"D2B0": stages})) is None


@pytest.mark.parametrize("name", [b"kTRC", b"lumi", b"bkpt", b"gamt"])
def test_elements_that_no_transform_of_colours_needs_go(name: bytes) -> None:
    curve = b"curv" + bytes(4) + struct.pack(">I", 6) + WORD + b"!"
    kept = without_text(profile_of({b"A2B0": table_of_16_bits(), name: curve}))
    assert kept is not None
    assert name not in kept
    assert WORD not in kept


@pytest.mark.parametrize(
    "element",
    [
        b"XYZ " + bytes(4) + b"PHIKOWALSKI!",
        b"sf32" + bytes(4) + (b"PHIKOWALSKI!" * 3),
        b"para" + bytes(4) + struct.pack(">HH", 1, 0) + b"PHIKOWALSKI!",
    ],
    ids=["XYZ", "sf32", "para"],
)
def test_letters_as_fixed_point_numbers_are_damage(element: bytes) -> None:
    assert without_text(profile_of({b"A2B0": table_of_16_bits(), b"chad": element})) is None


def test_elements_that_overlap_are_damage() -> None:
    profile = bytearray(profile_of({b"A2B0": table_of_16_bits(), b"A2B1": table_of_16_bits()[:-4] + b"1234"}))
    _, start, size = struct.unpack_from(">4sII", profile, 132)
    struct.pack_into(">4sII", profile, 144, b"A2B1", start + 4, size)
    struct.pack_into(">I", profile, 128, 2)
    assert without_text(bytes(profile[: start + size + 4])) is None


def test_a_kept_profile_has_a_description_and_a_copyright_that_are_empty() -> None:
    for profile in (SRGB, ADOBE, profile_of({b"A2B0": table_of_16_bits()})):
        kept = without_text(profile)
        assert kept is not None
        opened = ImageCms.getOpenProfile(io.BytesIO(kept))
        assert not (ImageCms.getProfileDescription(opened) + ImageCms.getProfileCopyright(opened)).strip(
            "\0\n "
        )


@pytest.mark.parametrize(
    "damaged",
    [
        b"", WORD, SRGB[:100], SRGB[:200], SRGB.replace(b"acsp", b"PHIK"), SRGB.replace(b"RGB ", b"PHIK"),
        SRGB[:128] + struct.pack(">I", 1 << 30) + SRGB[132:], profile_of({b"rXYZ": b"PHIKOWALSKI!"}),
        profile_of({b"rTRC": b"curv" + bytes(4) + struct.pack(">I", 1000)}),
    ],
    ids=range(9),
)  # fmt: skip
def test_damaged_profiles_go(damaged: bytes) -> None:
    assert without_text(damaged) is None


def test_words_planted_anywhere_in_a_header_go() -> None:
    for at in (4, 24, 30, 40, 44, 48, 52, 56, 60, 80, 84, 90, 100, 120):
        planted = SRGB[:at] + b"PHIK" + SRGB[at + 4 :]
        kept = without_text(planted)
        assert kept is None or b"PHIK" not in kept
