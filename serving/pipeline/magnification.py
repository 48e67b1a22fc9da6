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
            "See to its magnification yourself, or read the slide from DICOM with Pixel Spacing.",
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
    """Return (width, height) in pixels of an image at a size of a pixel, if it may be shrunk so far."""
    if um / min(stored.x, stored.y) > MAX_DOWNSAMPLING:
        return None
    width, height = (
        min(max(nearest(pixels * side / um), math.ceil(pixels / MAX_DOWNSAMPLING)), pixels)
        for pixels, side in ((read.stored_width, stored.x), (read.stored_height, stored.y))
    )
    return width, height
