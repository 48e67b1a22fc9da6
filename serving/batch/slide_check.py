"""Whether a slide could be embedded, and what that would take: no model, no frame, no pixel."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace

from dicom_io.colour.profiles import IccTarget
from dicom_io.errors import ImageError
from dicom_io.geometry import Patch, Sampling
from dicom_io.reading import Needs, ReadOptions
from dicom_io.slides.findings import RuleOutcome
from dicom_io.slides.level import ScaledLevel
from dicom_io.slides.slide import View
from dicom_io.sources.session import ReadContext, ReadSession
from dicom_io.sources.shared_raster import RasterRegistry
from dicom_io.waiting import Cancellation
from model.encoder import PATCH_SIDE
from serving.batch.opened import OpenedSlide, TargetError, opened
from serving.batch.plan import plan
from serving.batch.slide_findings import LevelFindings, findings_of
from serving.batch.target import Wanted, view_of
from serving.errors import Code, fault_of
from serving.pipeline.magnification import GuardMode, MagnificationGuard, Verdict, judge, judge_for_command

_DEADLINE_S = 300.0


@dataclass(frozen=True, slots=True)
class ReadingPlan:
    """What would be read of a slide.

    Attributes
    ----------
    level:
        Index of the level.
    sampling:
        The size at which it would be read.
    patches:
        Of the whole grid: tissue is not looked for, as that takes pixels.
    needs:
        Frames and bytes of these; a frame that two chunks share counts for each.
    magnification:
        What the magnification guard finds of that size.
    advice:
        The same in a command's words; empty where nothing is wrong.
    """

    level: int
    sampling: Sampling
    patches: int
    needs: Needs
    magnification: Verdict
    advice: str


@dataclass(frozen=True, slots=True)
class SlideCheck:
    """What is found of a slide.

    Attributes
    ----------
    refusal:
        Why it cannot be embedded; ``None`` where it can.
    format:
        OpenSlide's name of its format, ``dicom`` or ``picture``; ``None`` where it cannot be opened.
    levels:
        Largest first; none where it cannot be opened.
    findings:
        Of each level of a DICOM slide.
    reading:
        What would be read; ``None`` where it is refused.
    """

    refusal: str | None
    format: str | None = None
    levels: tuple[ScaledLevel, ...] = ()
    findings: tuple[LevelFindings, ...] = ()
    reading: ReadingPlan | None = None


def check_slide(
    where: str,
    mpp: float | None,
    token: str | None,
    wanted: Wanted,
    target: IccTarget,
    context: ReadContext,
    guard: MagnificationGuard,
) -> SlideCheck:
    """Open a slide as embedding it would, as far as no pixels are needed.

    Parameters
    ----------
    where, mpp, token:
        See ``opened``.
    wanted:
        Level or scale, and stride.
    target:
        Colour space that pixels would be transformed to.
    guard:
        Judges the size of a pixel.
    """
    try:
        found = findings_of(where, token, target, context)
    except (ImageError, OSError):
        found = ()  # it is said when the slide is opened
    kind, levels = None, tuple[ScaledLevel, ...]()
    try:
        with opened(where, mpp, token, context) as slide:
            kind, levels = str(slide.facts["format"]), slide.slide.levels
            reading = _reading(slide, wanted, target, context, guard)
            refusal = _broken(found[reading.level]) if found else None
            return SlideCheck(refusal, kind, levels, found, None if refusal else reading)
    except TargetError as error:
        refusal = str(error)
    except ImageError as error:
        fault = fault_of(error.fault)
        refusal = f"{fault.code}: {fault.description}"
    return SlideCheck(refusal, kind, levels, found)


def _broken(level: LevelFindings) -> str | None:
    """Return what refuses a level that can be opened: a transfer syntax, which is met frame by frame."""
    for finding in level.findings:
        if finding.outcome is RuleOutcome.FAIL:
            what = f"{finding.keyword} ({finding.tag}) {finding.sentence}, and it is {finding.found}"
            return f"{Code.DICOM_ERROR}: {what}; SOP instance {finding.sop_uid}."
    return None


def _reading(
    slide: OpenedSlide, wanted: Wanted, target: IccTarget, context: ReadContext, guard: MagnificationGuard
) -> ReadingPlan:
    view = view_of(slide.slide, wanted)
    refused, warning = judge_for_command(view.sampling, guard)
    if refused:
        raise TargetError(f"{Code.MAGNIFICATION_ERROR}: {warning}")
    patches = view.grid(PATCH_SIDE, wanted.stride)
    if not patches:
        raise TargetError(
            f"The slide has {view.width}x{view.height} pixels at this scale, less than a patch of "
            f"{PATCH_SIDE}x{PATCH_SIDE}."
        )
    needs = _needs(slide, view, patches, target, context)
    verdict = judge(view.sampling, guard.allowed).verdict
    _, advice = judge_for_command(view.sampling, replace(guard, mode=GuardMode.WARN))
    return ReadingPlan(view.index, view.sampling, len(patches), needs, verdict, advice)


def _needs(
    slide: OpenedSlide,
    view: View[ScaledLevel],
    patches: Sequence[Patch],
    target: IccTarget,
    context: ReadContext,
) -> Needs:
    """Return what reading the patches takes, chunk by chunk as they would be read."""
    waits = Cancellation(time.monotonic() + _DEADLINE_S)
    session = ReadSession(context, waits, RasterRegistry({}), lambda _: nullcontext())
    options = ReadOptions(image_dimensions=view.image_dimensions, icc_target=target)
    with closing(slide.source(view.index).open(options, session)) as image:
        some = [
            image.needs([Patch(x, y, PATCH_SIDE, PATCH_SIDE) for x, y in chunk])
            for chunk in plan([(patch.x, patch.y) for patch in patches]).chunks
        ]
    first = some[0]
    if first.frames is None:
        return first  # an image that is decoded as a whole, once
    sizes = [one.bytes for one in some]
    known = [size for size in sizes if size is not None]
    return Needs(
        sum(one.frames or 0 for one in some),
        sum(known) if len(known) == len(sizes) else None,
        first.basis,
    )
