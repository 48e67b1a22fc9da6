"""What every requirement comes to for a level that is named: nothing raises, and nothing is read. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from dicom_io.codecs.frame import DECODERS
from dicom_io.errors import ImageError
from dicom_io.slides.attributes import ATTRIBUTES, Attribute, printable
from dicom_io.slides.instance import SopInstance
from dicom_io.slides.level_rules import (
    NAMING_RULES,
    PART_RULES,
    SERIES_RULES,
    LevelRule,
    Named,
    images_of_pyramid,
)
from dicom_io.slides.pyramid import parts_of
from dicom_io.slides.requirements import REQUIREMENTS, Grade, Requirement

MOST_VALUES = 4
"""Values of an attribute that are told of a level's parts, where they differ."""


_SYNTAXES = Attribute("PS3.5, A.4", lambda part: part.transfer_syntaxes)


class RuleOutcome(StrEnum):
    """What a rule comes to."""

    PASS = "pass"  # noqa: S105  # of a rule
    FAIL = "fail"
    """The level is refused."""
    REMARK = "remark"
    """Only documented, and broken; the level is read all the same."""
    NOT_APPLICABLE = "not applicable"
    NOT_CHECKED = "not checked"
    """Something else is broken without which there is nothing to check."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule, and what it comes to.

    Attributes
    ----------
    keyword, tag, clause, sentence, grade:
        The rule; see ``Requirement``.
    found:
        What there is instead, or in accordance: values where a level's parts have several, or a sentence;
        ``None`` where the attribute is missing.
    sop_uid:
        First SOP instance that breaks the rule; ``None`` where none does, or it is about them all.
    """

    keyword: str
    tag: str
    clause: str
    sentence: str
    grade: Grade
    outcome: RuleOutcome
    found: str | None
    sop_uid: str | None = None


def findings(
    instances: Sequence[SopInstance], wanted: Sequence[str], *, strict: bool, transcodes: bool = True
) -> tuple[Finding, ...]:
    """Return every rule with what it comes to.

    With ``transcodes``, none has failed just where ``select_level`` finds a level.

    Parameters
    ----------
    instances, wanted, strict:
        See ``select_level``.
    transcodes:
        Whether whoever has the frames may send them in another transfer syntax than they are stored in.
    """
    images = images_of_pyramid(instances)
    known = {str(i.sop_uid): i for i in images}
    others = [i for i in instances if i.sop_uid in wanted and str(i.sop_uid) not in known]
    parts = parts_of(images, wanted)
    named = Named(images, wanted, parts)
    single = [_of_requirement(rule, [*parts, *others], strict=strict) for rule in REQUIREMENTS]
    joint = [_of_rule(rule, named) for rule in (*SERIES_RULES, *NAMING_RULES)]
    # Parts are compared once each is sound and they are one level: their sizes may be missing else.
    sound = bool(parts) and all(found.outcome is not RuleOutcome.FAIL for found in (*single, *joint))
    of_parts = [_of_rule(rule, named, sound=sound) for rule in PART_RULES]
    return (*single, *joint, *of_parts, _of_syntax(parts, transcodes=transcodes))


def fails(found: Iterable[Finding]) -> bool:
    """Return whether a rule refuses the level."""
    return any(finding.outcome is RuleOutcome.FAIL for finding in found)


def _of_requirement(rule: Requirement, parts: Sequence[SopInstance], *, strict: bool) -> Finding:
    concerned = [part for part in parts if rule.applies(part)]
    broken = [part for part in concerned if not rule.holds(part)]
    if not parts:
        outcome = RuleOutcome.NOT_CHECKED
    elif not concerned:
        outcome = RuleOutcome.NOT_APPLICABLE
    elif not broken:
        outcome = RuleOutcome.PASS
    else:
        outcome = RuleOutcome.FAIL if rule.refuses(strict=strict) else RuleOutcome.REMARK
    return Finding(
        rule.keyword,
        rule.tag,
        rule.clause,
        rule.sentence,
        rule.grade,
        outcome,
        _values(rule.found, broken or concerned),
        _uid(broken),
    )


def _of_syntax(parts: Sequence[SopInstance], *, transcodes: bool) -> Finding:
    """Return whether frames are decoded in the syntax that they are stored in; a store may know others."""
    known = [part for part in parts if part.transfer_syntaxes]
    broken = [part for part in known if not DECODERS.keys() & set(part.transfer_syntaxes)]
    outcome, sentence = RuleOutcome.PASS, "must be one that is decoded here"
    if not parts:
        outcome = RuleOutcome.NOT_CHECKED
    elif not known:
        outcome = RuleOutcome.NOT_APPLICABLE
    elif broken:
        outcome = RuleOutcome.REMARK if transcodes else RuleOutcome.FAIL
    return Finding(
        "AvailableTransferSyntaxUID",
        "0008,3002",
        _SYNTAXES.clause,
        f"{sentence}; else the store is asked to transcode" if transcodes else sentence,
        Grade.DOCUMENTED if transcodes else Grade.NEEDED,
        outcome,
        _values(_SYNTAXES.found, broken or known),
        _uid(broken),
    )


def _uid(broken: Sequence[SopInstance]) -> str | None:
    return ATTRIBUTES["SOPInstanceUID"].found(broken[0]) if broken else None


def _values(found: Callable[[SopInstance], str | None], parts: Sequence[SopInstance]) -> str | None:
    values = ["nothing" if value is None else value for value in dict.fromkeys(map(found, parts))]
    if values == ["nothing"]:
        return None
    more = f", and {len(values) - MOST_VALUES} more" if len(values) > MOST_VALUES else ""
    return " or ".join(values[:MOST_VALUES]) + more if values else None


def _of_rule(rule: LevelRule, named: Named, *, sound: bool = True) -> Finding:
    outcome, found = RuleOutcome.PASS, None
    if not sound:
        outcome = RuleOutcome.NOT_CHECKED
    elif not rule.applies(named):
        outcome = RuleOutcome.NOT_APPLICABLE
    else:
        try:
            rule.require(named)
        except ImageError as error:
            outcome, found = RuleOutcome.FAIL, printable(error.description)
    return Finding(rule.keyword, rule.tag, rule.clause, rule.sentence, Grade.NEEDED, outcome, found)
