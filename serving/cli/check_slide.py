"""``pathserve check SLIDE``: whether slides could be embedded, and every DICOM requirement's outcome."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import orjson

from dicom_io.colour.profiles import IccTarget
from dicom_io.slides.findings import RuleOutcome
from dicom_io.slides.level import ScaledLevel
from serving.api.check_response import finding_json, size_json
from serving.batch.slide_check import ReadingPlan, SlideCheck, check_slide
from serving.batch.slide_findings import LevelFindings, holds_dicom
from serving.batch.target import Wanted
from serving.batch.worklist import NamedSlide, WorklistError, worklist
from serving.config.exit_status import ExitStatus
from serving.config.group import revealed
from serving.config.settings import Settings
from serving.pipeline.magnification import in_um
from serving.processes.assembly import magnification_guard, read_context
from serving.telemetry.json_log import log_as_json

_BROKEN = (RuleOutcome.FAIL, RuleOutcome.REMARK)
_MET = (RuleOutcome.PASS, RuleOutcome.NOT_APPLICABLE, RuleOutcome.NOT_CHECKED)
_WIDTH, _INDENT = 110, " " * 12


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """The command line; see ``serving.cli.embed.EmbedOptions``.

    Attributes
    ----------
    as_json:
        Whether JSON is printed.
    """

    where: tuple[str, ...]
    level: int | None
    mpp: float | None
    slide_mpp: float | None
    stride: int
    icc: str
    as_json: bool

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Self:
        """Return what ``serving.cli.check_arguments`` has parsed."""
        return cls(
            tuple(arguments.where),
            arguments.level,
            arguments.mpp,
            arguments.slide_mpp,
            arguments.stride,
            arguments.icc,
            arguments.json,
        )


def check_slides(options: CheckOptions, settings: Settings) -> ExitStatus:
    """Run the command; return an exit status: a fault where a slide is refused."""
    log_as_json("ERROR", process="check")
    try:
        target = IccTarget.named(options.icc)
    except ValueError:
        print(
            f"pathserve: --icc {options.icc} is not a colour space; there are {', '.join(IccTarget)}.",
            file=sys.stderr,
        )
        return ExitStatus.FAULT
    try:
        slides = _named(options.where)
    except WorklistError as error:
        print(f"pathserve: {error}", file=sys.stderr)
        return ExitStatus.FAULT
    wanted = Wanted(None if options.mpp else options.level or 0, options.mpp, options.stride, None, None)
    token = revealed(settings.command.store_token)
    guard, context = magnification_guard(settings), read_context(settings)
    refused = 0
    try:
        for named in slides:
            mpp = named.mpp if named.mpp is not None else options.slide_mpp
            found = check_slide(named.where, mpp, token, wanted, target, context, guard)
            refused += found.refusal is not None
            text = _as_json(named, found) if options.as_json else "\n".join(_as_text(named, found))
            print(text, flush=True)
    finally:
        context.decoders.close()
    return ExitStatus.FAULT if refused else ExitStatus.OK


def _named(wheres: Sequence[str]) -> list[NamedSlide]:
    """Return the slides that are named; a folder whose DICOM files are no slide is one that is refused."""
    slides: list[NamedSlide] = []
    for where in wheres:
        try:
            slides += worklist([where]).slides
        except WorklistError:
            if not holds_dicom(where):
                raise
            slides.append(NamedSlide(where, where))
    return slides


def _as_json(named: NamedSlide, found: SlideCheck) -> str:
    reading = found.reading
    document = {
        "slide": named.where,
        "ok": found.refusal is None,
        "refusal": found.refusal,
        "format": found.format,
        "levels": [size_json(level.width, level.height, level.spacing) for level in found.levels],
        "requirements": [
            {"instance_uids": level.sop_uids, "requirements": [finding_json(one) for one in level.findings]}
            for level in found.findings
        ],
        "reading": None if reading is None else _reading_json(reading),
    }
    return orjson.dumps(document).decode()


def _reading_json(reading: ReadingPlan) -> dict[str, object]:
    sampling = reading.sampling
    return {
        "level": reading.level,
        "patches": reading.patches,
        "frames": reading.needs.frames,
        "bytes": reading.needs.bytes,
        "bytes_basis": reading.needs.basis,
        "stored": size_json(sampling.stored_width, sampling.stored_height, sampling.stored_spacing),
        "read": size_json(sampling.width, sampling.height, sampling.spacing),
        "magnification": {"verdict": reading.magnification, "description": reading.advice},
    }


def _as_text(named: NamedSlide, found: SlideCheck) -> Iterator[str]:
    yield f"{named.where}: {'REFUSED' if found.refusal else 'ok'}"
    if found.refusal:
        yield f"  {found.refusal}"
    for index, level in enumerate(found.levels):
        yield f"  level {index}   {_level_text(level)}"
    if found.reading is not None:
        yield from _reading_text(found.reading)
    for number, level_findings in enumerate(found.findings):
        yield from _findings_text(number, level_findings)


def _level_text(level: ScaledLevel) -> str:
    scale = "size of a pixel not known" if level.spacing is None else f"{in_um(level.spacing)} a pixel"
    return f"{level.width}x{level.height} pixels, {scale}"


def _reading_text(reading: ReadingPlan) -> Iterator[str]:
    sampling, needs = reading.sampling, reading.needs
    size = f"{sampling.width}x{sampling.height} pixels"
    yield f"  would read level {reading.level} as {size}: {reading.patches:,} patches, tissue or not"
    frames = "" if needs.frames is None else f"{needs.frames:,} frames, "
    sent = "bytes not known before they are read" if needs.bytes is None else f"{needs.bytes:,} bytes"
    yield f"  takes     {frames}{sent}"
    yield f"  guard     {reading.magnification}. {reading.advice}".rstrip()


def _findings_text(number: int, level: LevelFindings) -> Iterator[str]:
    """Yield what is broken row by row, and of the rest which attributes they are about."""
    yield f"  requirements of image {number} ({level.sop_uids[0]})"
    for finding in level.findings:
        if finding.outcome in _BROKEN:
            yield f"    {finding.outcome.upper():6}  {finding.keyword} ({finding.tag}) {finding.sentence}"
            found = "nothing" if finding.found is None else finding.found.rstrip(".")
            yield f"            found: {found}; {finding.grade} by {finding.clause}"
    for outcome in _MET:
        # Of an attribute there may be several rules.
        if keywords := dict.fromkeys(one.keyword for one in level.findings if one.outcome is outcome):
            title = f"    {outcome.upper():6}  "
            yield textwrap.fill(", ".join(keywords), _WIDTH, initial_indent=title, subsequent_indent=_INDENT)
