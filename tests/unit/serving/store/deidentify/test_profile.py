"""Every attribute of the Basic Application Confidentiality Profile (PS3.15, E.1) is absent or replaced."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.datadict import dictionary_VR

from serving.store.deidentify.keeping.given import GIVEN
from serving.store.deidentify.keeping.keep_list import KEEP_LIST
from tests.support import raw_dicom
from tests.support.raw_dicom import UNDEFINED, data_set, element, file_of, item, minimal
from tests.unit.serving.store.deidentify.conftest import Clean

TABLE = Path(__file__).parents[4] / "support/confidentiality_profile.txt"
"""Actions and the tags that each is for, of PS3.15 2026c; without curves, overlays and odd groups."""

WORD = b"PHIKOWALSKI"
DATE, TIME, UID = b"18370704", b"183704", b"1.3.6.1.4.1.77341.1837"
VALUES = {"DA": DATE, "DT": DATE + TIME, "TM": TIME, "UI": UID, "AS": b"183Y"}
NESTING = 0x00400560  # the specimens, whose items may stay


def tags() -> dict[int, str]:
    lines = [line.split() for line in TABLE.read_text(encoding="ascii").splitlines()]
    found = {int(tag, 16): action for action, *tags in lines for tag in tags}
    return {tag: action for tag, action in found.items() if tag >> 16 > 2}  # no commands, no file meta


def vr_of(tag: int) -> str:
    try:
        return dictionary_VR(tag).split(" or ")[0]
    except KeyError:
        return "LO"


def planted(tag: int) -> bytes:
    vr = vr_of(tag)
    value = WORD * 8 if vr in ("US", "UL", "FL", "FD", "SL", "SS") else VALUES.get(vr, WORD)
    return element(tag, vr, item(element(0x00100010, "PN", WORD)) if vr == "SQ" else value)


def test_the_table_is_whole() -> None:
    assert len(tags()) > 640
    assert set(tags().values()) == {"X", "Z", "D", "U", "X/Z", "X/D", "Z/D", "X/Z/D", "X/Z/U*"}


@pytest.mark.parametrize("nested", [False, True], ids=["data set", "item"])
def test_nothing_of_what_the_table_names_is_left(nested: bool, clean: Clean) -> None:
    base = minimal()
    bodies = {tag: element(tag, *value) for tag, value in base.items()}
    named = {tag: planted(tag) for tag in tags() if nested or tag != NESTING}
    if nested:
        del named[0x00080018]  # for the sake of what an item may be
        body = b"".join(named[tag] for tag in sorted(named))
        bodies[NESTING] = element(NESTING, "SQ", item(body))
    else:
        bodies |= named
    data = file_of(b"".join(bodies[tag] for tag in sorted(bodies)))
    assert all(word in data for word in (WORD, DATE, UID))
    written = clean(data)[0]
    assert [word for word in (WORD, DATE, TIME, UID) if word in written] == []


def test_what_is_on_the_keep_list_and_in_the_table_is_replaced() -> None:
    replaced = {
        tag
        for tag, kept in KEEP_LIST.items()
        if kept.vr == b"SQ" or getattr(kept.rule, "__name__", "") in ("new_uid", "pseudonym")
    }
    assert [f"{tag:08X}" for tag in tags() if tag in KEEP_LIST and tag not in replaced] == []


def test_what_every_instance_is_given_is_in_order_and_known_to_the_dictionary() -> None:
    given = [tag for tag, _ in GIVEN]
    assert given == sorted(given)
    for tag, written in GIVEN:
        assert written[4:6].decode() == dictionary_VR(tag)


def test_the_keep_list_has_the_representations_of_the_dictionary_and_says_why() -> None:
    for tag, kept in KEEP_LIST.items():
        assert kept.vr.decode() == dictionary_VR(tag)
        assert kept.why.endswith(".")


def test_what_an_item_of_unknown_length_holds_goes_as_well(clean: Clean) -> None:
    body = element(0x00100010, "PN", WORD) + raw_dicom.END_OF_ITEM
    nested = element(
        NESTING, "SQ", item(body, length=UNDEFINED) + raw_dicom.END_OF_SEQUENCE, length=UNDEFINED
    )
    rest = {tag: value for tag, value in minimal().items() if tag > NESTING}
    first = {tag: value for tag, value in minimal().items() if tag < NESTING}
    assert WORD not in clean(file_of(data_set(first) + nested + data_set(rest)))[0]
