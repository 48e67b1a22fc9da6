"""No word of a sender stays, whatever the attribute, its representation and its depth."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.datadict import DicomDictionary  # type: ignore[attr-defined]

from serving.store.deidentify.keeping.keep_list import KEEP_LIST
from serving.store.deidentify.refused import Refused
from tests.support.raw_dicom import element, file_of, item, minimal
from tests.support.slides import EXPLICIT, IMPLICIT
from tests.unit.serving.store.deidentify.conftest import cleaned

VRS = (
    "AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "OB", "OW", "PN", "SH", "SL",
    "SS", "ST", "TM", "UC", "UI", "UL", "UN", "UR", "US", "UT",
)  # fmt: skip
LETTERS = st.text("JKQVWXZ", min_size=9, max_size=12)  # no word that we write
KEPT = sorted(tag for tag in KEEP_LIST if KEEP_LIST[tag].vr != b"SQ")
TAGS = st.one_of(
    st.sampled_from(KEPT),
    st.sampled_from(sorted(tag for tag in DicomDictionary if 0x00080001 <= tag < 0x7FE00000)),
    st.integers(0x00080001, 0x7FDFFFFF),
)
SEQUENCES = st.lists(
    st.one_of(
        st.sampled_from(sorted(tag for tag in KEEP_LIST if KEEP_LIST[tag].vr == b"SQ")),
        st.integers(0x00080001, 0x7FDFFFFF),
    ),
    max_size=4,
)


@st.composite
def planted(draw: st.DrawFn) -> tuple[str, bytes]:
    """Draw a word and a file that has it in an element, in some representation, in items of sequences."""
    word, tag, implicit = draw(LETTERS), draw(TAGS), draw(st.booleans())
    vr = draw(st.sampled_from(VRS) | st.just(KEEP_LIST[tag].vr.decode() if tag in KEEP_LIST else "LO"))
    parts = [draw(st.sampled_from(["", "1", "NO", "VOLUME", "1.2.3"])), word]
    value = "\\".join(parts if draw(st.booleans()) else parts[1:]).encode()
    value += b"\0" * (-len(value) % draw(st.sampled_from([1, 2, 4, 8])))
    written = element(tag, vr, value, explicit=not implicit)
    for sequence in draw(SEQUENCES):
        written, tag = element(sequence, "SQ", item(written), explicit=not implicit), sequence
    bodies = {t: element(t, *e, explicit=not implicit) for t, e in minimal().items()}
    bodies[tag] = written
    return word, file_of(b"".join(bodies[t] for t in sorted(bodies)), IMPLICIT if implicit else EXPLICIT)


@settings(max_examples=200, deadline=None)
@given(planted())
def test_a_planted_word_never_survives(case: tuple[str, bytes]) -> None:
    word, data = case
    with tempfile.TemporaryDirectory() as folder:
        try:
            written, found = cleaned(Path(folder) / "source", data)
        except Refused as refused:
            assert word not in refused.reason
            return
    assert word.encode() not in written
    assert word not in repr(found)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 600), st.sampled_from([EXPLICIT, IMPLICIT]))
def test_bytes_at_random_are_refused_or_cleaned_and_raise_nothing_else(
    noise: bytes, at: int, syntax: str
) -> None:
    data = file_of(
        b"".join(element(t, *e, explicit=syntax == EXPLICIT) for t, e in minimal().items()), syntax
    )
    with tempfile.TemporaryDirectory() as folder:
        for changed in (data[:at] + noise + data[at + len(noise) :], data[:at] + noise + data[at:]):
            try:
                cleaned(Path(folder) / "source", changed)
            except Refused:
                continue
