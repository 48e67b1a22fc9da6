from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_io.errors import ImageError
from dicom_io.slides.attributes import ATTRIBUTES, MOST_SHOWN
from dicom_io.slides.findings import MOST_VALUES, Finding, RuleOutcome, fails, findings
from dicom_io.slides.instance import SopInstance, parse_instance
from dicom_io.slides.pyramid import select_level
from dicom_io.slides.requirements import REQUIREMENTS, Grade
from tests.support.slides import CODINGS, Slide, stained
from tests.unit.dicom_io.slides.test_pyramid import BROKEN

MICROSCOPIC = "1.2.840.10008.5.1.4.1.1.77.1.2"


def instances(slide: Slide) -> tuple[SopInstance, ...]:
    return tuple(parse_instance(i.dataset.to_json_dict()) for i in slide.instances)


def series(parts: int = 1) -> tuple[SopInstance, ...]:
    slide = Slide()
    slide.add_level(stained(500, 350), CODINGS["explicit"], parts=parts)
    slide.add_level(stained(250, 230), CODINGS["explicit"])
    return instances(slide)


def found(held: tuple[SopInstance, ...], *uids: str | None, **options: bool) -> tuple[Finding, ...]:
    return findings(held, [str(uid) for uid in uids], **{"strict": False} | options)


def with_outcome(all_of_them: tuple[Finding, ...], outcome: RuleOutcome) -> list[str]:
    return [finding.keyword for finding in all_of_them if finding.outcome is outcome]


def test_every_requirement_is_about_an_attribute_that_says_where_it_is_defined() -> None:
    assert {rule.keyword for rule in REQUIREMENTS} == set(ATTRIBUTES)
    for rule in REQUIREMENTS:
        assert "Path Foundation API" in rule.clause
        assert "PS3.3, " in rule.clause


def test_a_right_level_meets_every_rule_and_each_is_told_once() -> None:
    held = series()
    told = found(held, held[0].sop_uid, strict=True)
    assert {finding.outcome for finding in told} == {RuleOutcome.PASS, RuleOutcome.NOT_APPLICABLE}
    assert len(told) == len(set(told)) > len(REQUIREMENTS)


@pytest.mark.parametrize(("number", "changes"), list(enumerate(BROKEN)))
def test_a_broken_requirement_fails_or_is_remarked_on_and_shows_what_was_found(
    number: int, changes: dict[str, Any]
) -> None:
    rule, (first, second) = REQUIREMENTS[number], series()
    bad = replace(first, **changes)
    told = found((bad, second), bad.sop_uid)
    if bad.sop_uid is None:
        assert fails(told)  # a level that has no name is not found by one
        return
    finding = told[number]
    assert (finding.keyword, finding.sentence) == (rule.keyword, rule.sentence)
    assert finding.outcome is (RuleOutcome.FAIL if rule.grade is Grade.NEEDED else RuleOutcome.REMARK)
    assert finding.sop_uid == bad.sop_uid
    assert found((bad, second), bad.sop_uid, strict=True)[number].outcome is RuleOutcome.FAIL


def test_values_that_differ_between_parts_are_told_and_only_some_of_many() -> None:
    held = series(parts=6)
    parts = tuple(replace(part, bits_allocated=8 + number) for number, part in enumerate(held[:-1]))
    told = {finding.keyword: finding for finding in found((*parts, held[-1]), parts[0].sop_uid)}
    bits = told["BitsAllocated"]
    assert bits.found == "9 or 10 or 11 or 12, and 1 more"
    assert bits.found.count(" or ") == MOST_VALUES - 1
    assert bits.sop_uid == parts[1].sop_uid


@given(st.text(max_size=300), st.lists(st.text(max_size=90), max_size=6))
def test_what_is_shown_of_a_value_is_short_and_of_the_characters_of_codes(
    text: str, several: list[str]
) -> None:
    held = series()
    bad = replace(held[0], modality=text, photometric=text, image_type=tuple(several))
    for finding in found((bad, held[1]), bad.sop_uid):
        shown = finding.found or ""
        assert len(shown) <= 300
        if finding.keyword in ("Modality", "PhotometricInterpretation", "ImageType") and finding.sop_uid:
            assert len(shown) <= MOST_SHOWN
            assert shown.isprintable()


NUMBERS = st.none() | st.integers(-1, 600)

CHANGES: dict[str, st.SearchStrategy[Any]] = {
    "sop_class": st.sampled_from([None, MICROSCOPIC, "1.2"]),
    "image_type": st.sampled_from([(), ("D", "P", "VOLUME"), ("D", "P", "LABEL"), ("D", "P", "THUMBNAIL")]),
    "frames": st.integers(-1, 9),
    "frame_offset": st.integers(0, 4),
    "concatenation_uid": st.sampled_from([None, "1.2.3", "1.2.4"]),
    "pyramid_uid": st.sampled_from([None, "1.2.5", "1.2.6"]),
    "frame_of_reference_uid": st.sampled_from([None, "1.2.7"]),
    "organization": st.sampled_from([None, "TILED_FULL", "TILED_SPARSE"]),
    "photometric": st.sampled_from([None, "RGB", "MONOCHROME2", "HSV"]),
    "transfer_syntaxes": st.sampled_from([(), ("1.2.840.10008.1.2",), ("1.2.840.10008.1.2.1", "1.2.9")]),
    **dict.fromkeys(
        ("rows", "columns", "total_rows", "total_columns", "samples", "bits_allocated", "high_bit"), NUMBERS
    ),
}


@given(
    st.lists(st.fixed_dictionaries({}, optional=CHANGES), min_size=4, max_size=4),
    st.lists(st.integers(0, 4), min_size=1, max_size=3),
    st.booleans(),
)
def test_no_rule_fails_just_where_a_level_is_found(
    changes: list[dict[str, Any]], named: list[int], strict: bool
) -> None:
    held = tuple(replace(instance, **some) for instance, some in zip(series(parts=3), changes, strict=True))
    uids = [str(held[number].sop_uid) if number < len(held) else "1.2.3.4" for number in named]
    try:
        select_level(held, uids, strict=strict)
        refused = False
    except ImageError:
        refused = True
    assert fails(findings(held, uids, strict=strict)) is refused


def test_every_attribute_that_is_changed_above_is_one_of_an_instance() -> None:
    assert set(CHANGES) <= {field.name for field in fields(SopInstance)}


def test_a_syntax_that_is_not_decoded_is_remarked_on_where_it_may_be_transcoded_and_fails_else() -> None:
    first, second = series()
    known = replace(first, transfer_syntaxes=("1.2.840.10008.1.2.4.50",))
    strange = replace(first, transfer_syntaxes=("1.2.840.10008.1.2.4.100",))
    assert found((known, second), known.sop_uid)[-1].outcome is RuleOutcome.PASS
    last = found((strange, second), strange.sop_uid)[-1]
    assert (last.outcome, last.found) == (RuleOutcome.REMARK, "1.2.840.10008.1.2.4.100")
    assert found((strange, second), strange.sop_uid, transcodes=False)[-1].outcome is RuleOutcome.FAIL
    assert found((first, second), first.sop_uid)[-1].outcome is RuleOutcome.NOT_APPLICABLE


def test_of_what_is_not_in_the_series_nothing_is_checked_but_that() -> None:
    told = found(series(), "1.2.3.4")
    assert with_outcome(told, RuleOutcome.FAIL) == ["ImageType"]
    assert len(with_outcome(told, RuleOutcome.NOT_CHECKED)) >= len(REQUIREMENTS)
