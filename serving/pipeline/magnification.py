"""The magnification guard: whether an image is read at a scale that the model has been made for. Pure.

A model that has learned from tissue at 5x to 20x gives vectors of any pixels, and nothing in a vector tells
that a cell was four times as large as any that the model has seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from dicom_io.geometry import Sampling, Spacing, nearest
from dicom_io.slides.level_image import MAX_DOWNSAMPLING
from model.encoder import PATCH_SIDE
from serving.errors import Code, ServiceError
from serving.pipeline.outcome import MagnificationWarning


class Verdict(StrEnum):
    """What there is to say about the size of an image's pixels."""

    INSIDE = "inside"
    TOO_FINE = "too_fine"
    TOO_COARSE = "too_coarse"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class MagnificationRange:
    """The sizes of a pixel, in µm, that a model has been made for.

    Attributes
    ----------
    finest_um, coarsest_um:
        The ends of the range: 0.5 is what goes by 20x, 2.0 by 5x (Path Foundation model card).
    tolerance:
        Share by which a pixel may be beyond either end: what scanners call 20x has 0.44 to 0.55 µm
        (Hamamatsu 0.4537, Leica 0.5), and what they call 5x four times as much.
    """

    finest_um: float = 0.5
    coarsest_um: float = 2.0
    tolerance: float = 0.15

    @property
    def least_um(self) -> float:
        """Finest that passes."""
        return self.finest_um / (1 + self.tolerance)

    @property
    def most_um(self) -> float:
        """Coarsest that passes."""
        return self.coarsest_um * (1 + self.tolerance)

    def __str__(self) -> str:
        return f"{self.finest_um:g} to {self.coarsest_um:g} µm a pixel"


PATH_FOUNDATION = MagnificationRange()
"""5x to 20x (Path Foundation model card)."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the guard finds of one image.

    Attributes
    ----------
    spacing:
        Size of a pixel as the encoder sees it; ``None`` where nothing tells.
    description:
        What is wrong; empty where nothing is.
    instead:
        What to ask for instead, in the API's words; empty where nothing is wrong.
    """

    verdict: Verdict
    spacing: Spacing | None
    description: str = ""
    instead: str = ""


def judge(read: Sampling, allowed: MagnificationRange = PATH_FOUNDATION) -> Judgement:
    """Return what there is to say about the size of an image's pixels, on both axes.

    A size that is not known is said to be unknown, never guessed.
    """
    spacing = read.spacing
    if spacing is None:
        return Judgement(
            Verdict.UNKNOWN,
            None,
            f"Nothing says how large this image's pixels are; the model is made for {allowed}.",
            "If you know it, state it in extensions.source_um_per_px.",
        )
    sides = (spacing.x, spacing.y)
    if max(sides) > allowed.most_um:
        verdict = Verdict.TOO_COARSE
    elif min(sides) < allowed.least_um:
        verdict = Verdict.TOO_FINE
    else:
        return Judgement(Verdict.INSIDE, spacing)
    return Judgement(
        verdict,
        spacing,
        f"The image's pixels are {in_um(spacing)}; the model is made for {allowed}.",
        _instead(read, allowed),
    )


class GuardMode(StrEnum):
    """What becomes of an image of a magnification that the model is not made for."""

    OFF = "off"
    WARN = "warn"
    REFUSE = "refuse"
    STRICT = "strict"
    """As ``REFUSE``, and what is of unknown size is refused, too."""


@dataclass(frozen=True, slots=True)
class MagnificationGuard:
    """Judges images as the operator wants it."""

    mode: GuardMode = GuardMode.OFF
    allowed: MagnificationRange = PATH_FOUNDATION

    def refuses(self, judgement: Judgement) -> bool:
        """Return whether an image is refused for what was found of it."""
        if judgement.verdict is Verdict.UNKNOWN:
            return self.mode is GuardMode.STRICT
        return judgement.verdict is not Verdict.INSIDE and self.mode in (GuardMode.REFUSE, GuardMode.STRICT)

    def check(self, read: Sampling) -> MagnificationWarning | None:
        """Return what there is to say of an image that is embedded all the same.

        Raises
        ------
        ServiceError
            MAGNIFICATION_ERROR when it is refused.
        """
        if self.mode is GuardMode.OFF:
            return None
        found = judge(read, self.allowed)
        if found.verdict is Verdict.INSIDE:
            return None
        description = f"{found.description} {found.instead}"
        if self.refuses(found):
            raise ServiceError(Code.MAGNIFICATION_ERROR, description)
        um = None if found.spacing is None else (found.spacing.x, found.spacing.y)
        return MagnificationWarning(str(found.verdict), um, description)


def judge_for_command(read: Sampling, guard: MagnificationGuard) -> tuple[bool, str]:
    """Return whether a command must not embed a slide so, and what there is to say about it, in its words.

    Empty where nothing is wrong, or the guard is off.
    """
    found = judge(read, guard.allowed)
    if guard.mode is GuardMode.OFF or found.verdict is Verdict.INSIDE:
        return False, ""
    if found.verdict is Verdict.UNKNOWN:
        instead = "Give it with --slide-mpp, the µm of a pixel of the largest level."
    else:
        instead = f"Ask for --mpp {guard.allowed.finest_um:g} to {guard.allowed.coarsest_um:g}."
    return guard.refuses(found), f"{found.description} {instead}"


def first_sentence(description: str) -> str:
    """Return what is wrong, of a description here, without what to ask for instead."""
    return f"{description.partition('. ')[0].rstrip('.')}."


def in_um(spacing: Spacing) -> str:
    """Return a size of a pixel in words: of both axes where they differ visibly."""
    x, y = f"{spacing.x:.4g}", f"{spacing.y:.4g}"
    return f"{x} µm" if x == y else f"{x} x {y} µm"


def _instead(read: Sampling, allowed: MagnificationRange) -> str:
    """Return what to ask for instead: the image as stored, at another size, or another level."""
    stored = read.stored_spacing
    assert stored is not None  # its scale is known
    level = f"read a level of {allowed.finest_um:g} to {allowed.coarsest_um:g} µm a pixel"
    if _passes(stored, allowed):
        return "Leave out extensions.image_dimensions to read it as it is stored."
    if max(stored.x, stored.y) > allowed.most_um:
        return f"Its pixels as stored are {in_um(stored)}, and enlarging adds no detail: {level} instead."
    size = _size_at(read, stored, allowed.finest_um)
    if size is None:
        return f"{level[0].upper()}{level[1:]} instead."
    width, height = size
    return (
        f"Set extensions.image_dimensions to width_px {width} and height_px {height}, which is "
        f"{allowed.finest_um:g} µm a pixel, with patch_coordinates in those pixels; or {level}."
    )


def _passes(spacing: Spacing, allowed: MagnificationRange) -> bool:
    return all(allowed.least_um <= side <= allowed.most_um for side in (spacing.x, spacing.y))


def _size_at(read: Sampling, stored: Spacing, um: float) -> tuple[int, int] | None:
    """Return (width, height) in pixels at a size of a pixel, if it may be so small and a patch fits."""
    if um / min(stored.x, stored.y) > MAX_DOWNSAMPLING:
        return None
    width, height = (
        min(max(nearest(pixels * side / um), math.ceil(pixels / MAX_DOWNSAMPLING)), pixels)
        for pixels, side in ((read.stored_width, stored.x), (read.stored_height, stored.y))
    )
    return (width, height) if min(width, height) >= PATCH_SIDE else None
