from __future__ import annotations

import re
import struct

import pytest

from serving.store.deidentify.refused import Cause, Refused
from tests.support.raw_dicom import data_set, element, file_of, item, minimal
from tests.support.slides import EXPLICIT, MICROSCOPIC, WHOLE_SLIDE
from tests.unit.serving.store.deidentify.conftest import Clean

FRAME_TYPE = element(0x00089007, "CS", b"ORIGINAL\\PRIMARY\\LABEL\\NONE")


def refusal(clean: Clean, data: bytes) -> Refused:
    with pytest.raises(Refused) as raised:
        clean(data)
    return raised.value


def test_a_level_of_a_slide_is_let_in(clean: Clean) -> None:
    assert clean(file_of(data_set(minimal())))[1].study.startswith("2.25.")


@pytest.mark.parametrize("flavour", ["LABEL", "OVERVIEW", "LOCALIZER"])
@pytest.mark.parametrize("sop_class", [WHOLE_SLIDE, MICROSCOPIC])
def test_images_of_the_glass_and_its_label_are_refused(flavour: str, sop_class: str, clean: Clean) -> None:
    image_type = ("CS", f"ORIGINAL\\PRIMARY\\{flavour}\\NONE".encode())
    elements = minimal(t00080008=image_type, t00080016=("UI", sop_class.encode()))
    refused = refusal(clean, file_of(data_set(elements)))
    assert refused.cause is Cause.IDENTIFYING
    assert flavour in refused.reason


def test_a_label_is_seen_in_the_functional_groups_too(clean: Clean) -> None:
    groups = item(element(0x00400710, "SQ", item(FRAME_TYPE)))
    elements = minimal(t52009229=("SQ", groups))
    assert refusal(clean, file_of(data_set(elements))).cause is Cause.IDENTIFYING


@pytest.mark.parametrize("flavour", [b"LABEL", b"overview", b"Localizer"])
@pytest.mark.parametrize(
    "before", [b"ORIGINAL\\PRIMARY\\VOLUME\\NONE\\", b"FOO\\", b"ORIGINAL\\PRIMARY\\VOLUME\\ODD\\", b""]
)
def test_a_label_is_seen_wherever_an_image_type_says_it(flavour: bytes, before: bytes, clean: Clean) -> None:
    for changes in (
        {"t00080008": ("CS", before + flavour), "t00080016": ("UI", MICROSCOPIC.encode())},
        {
            "t52009229": (
                "SQ",
                item(element(0x00400710, "SQ", item(element(0x00089007, "CS", before + flavour)))),
            )
        },
    ):
        assert refusal(clean, file_of(data_set(minimal(**changes)))).cause is Cause.IDENTIFYING


def test_an_image_type_in_another_representation_is_refused(clean: Clean) -> None:
    for vr in ("LO", "UT"):
        hidden = item(element(0x00400710, "SQ", item(element(0x00089007, vr, b"LABEL"))))
        refusal(clean, file_of(data_set(minimal(t52009229=("SQ", hidden)))))


def test_an_image_that_shows_who_it_is_is_refused(clean: Clean) -> None:
    elements = minimal(t00280302=("CS", b"YES"))
    assert refusal(clean, file_of(data_set(elements))).cause is Cause.IDENTIFYING
    clean(file_of(data_set(minimal(t00280302=("CS", b"NO")))))


@pytest.mark.parametrize(
    "value", [b"", b"ORIGINAL", b"ORIGINAL\\PRIMARY", b"ORIGINAL\\PRIMARY\\label", b"VOLUME"]
)
def test_what_does_not_say_that_it_shows_tissue_alone_is_refused(value: bytes, clean: Clean) -> None:
    elements = minimal(t00080008=("CS", value))
    assert refusal(clean, file_of(data_set(elements))).cause is Cause.IDENTIFYING


@pytest.mark.parametrize("tag", ["t00280301", "t00480010"])
@pytest.mark.parametrize(
    "value", [None, ("CS", b"YES"), ("CS", b""), ("LO", b"NO"), ("CS", b"NO\\YES"), ("CS", b"no")]
)
def test_what_does_not_say_that_nothing_is_written_in_it_is_refused(
    tag: str, value: tuple[str, bytes] | None, clean: Clean
) -> None:
    refused = refusal(clean, file_of(data_set(minimal(**{tag: value}))))
    assert refused.cause is Cause.IDENTIFYING
    assert f"({tag[1:5]},{tag[5:]})" in refused.reason


@pytest.mark.parametrize(
    "sop_class",
    [b"1.2.840.10008.5.1.4.1.1.2", b"1.2.840.10008.5.1.4.1.1.88.33", b"1.2.3", b"PHIKOWALSKI", b""],
)
def test_other_classes_than_slides_are_refused(sop_class: bytes, clean: Clean) -> None:
    elements = minimal(t00080016=("UI", sop_class))
    refused = refusal(clean, file_of(data_set(elements)))
    assert refused.cause is Cause.SOP_CLASS
    assert "KOWALSKI" not in refused.reason


@pytest.mark.parametrize(
    "syntax",
    [
        "1.2.840.10008.1.2.2",
        "1.2.840.10008.1.2.4.100",
        "1.2.840.10008.1.2.4.94",
        "1.2.840.10008.1.2.8.1",
        "1.2.840.10008.1.2.1.98",
        "1.2.3",
    ],
)
def test_transfer_syntaxes_that_nothing_cleans_are_refused(syntax: str, clean: Clean) -> None:
    assert refusal(clean, file_of(data_set(minimal()), syntax)).cause is Cause.SYNTAX


@pytest.mark.parametrize("tag", ["t0020000D", "t0020000E", "t00080018"])
@pytest.mark.parametrize(
    "value", [None, ("UI", b""), ("UI", b"../../etc/passwd"), ("UI", b"1." * 40), ("LO", b"1.2")]
)
def test_instances_without_names_are_refused(tag: str, value: tuple[str, bytes] | None, clean: Clean) -> None:
    refused = refusal(clean, file_of(data_set(minimal(**{tag: value}))))
    assert refused.cause is Cause.DAMAGED
    assert "passwd" not in refused.reason


@pytest.mark.parametrize(
    "changes",
    [
        {"t00280010": ("US", struct.pack("<H", 0))},
        {"t00280010": None},
        {"t00280002": ("US", struct.pack("<H", 4))},
        {"t00280100": ("US", struct.pack("<H", 32))},
        {"t00280101": ("US", struct.pack("<H", 7))},
        {"t00280008": ("IS", b"0")},
        {"t00280008": None},
        {"t00280008": ("US", b"\1\0")},
        {"t00280004": None},
        {"t00280004": ("CS", b"PALETTE COLOR")},
        {"t00280004": ("CS", b"MONOCHROME2")},
        {"t00280006": None},
        {"t00280006": ("US", b"\2\0")},
        {"t00280008": ("IS", b"2")},
        {"t00280011": ("US", struct.pack("<H", 9))},
        {"t7FE00010": None},
        {"t7FE00010": ("OB", bytes(190))},
    ],
    ids=str,
)
def test_pixels_that_are_not_what_the_data_set_says_are_refused(
    changes: dict[str, tuple[str, bytes] | None], clean: Clean
) -> None:
    assert refusal(clean, file_of(data_set(minimal(**changes)))).cause is Cause.DAMAGED


def test_reasons_are_sentences(clean: Clean) -> None:
    for data in (b"", b"no DICOM", file_of(b"", EXPLICIT), file_of(data_set(minimal(t00280301=None)))):
        assert re.fullmatch(r"(The|Frames) .*\.", refusal(clean, data).reason)
