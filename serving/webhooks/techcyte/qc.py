"""Analysis ``qc``: whether a scan can be used. No encoder is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from shapely import Polygon

from dicom_io.local.slide import LocalSlide
from dicom_io.quality.blur import blur_effect
from dicom_io.slides.level import ScaledLevel
from dicom_io.slides.slide import Slide
from dicom_io.waiting import Cancellation
from serving.config.techcyte_slides_group import QC_FINDINGS, TechcyteAnalysisSettings
from serving.webhooks.analyses.areas import outline
from serving.webhooks.analyses.heatmap import mask_areas
from serving.webhooks.analyses.patches import BoolArray, Float64Array
from serving.webhooks.techcyte.shown import Shown, segment
from serving.webhooks.techcyte.slide_patches import (
    Overview,
    SlidePatches,
    overview_of,
    patches_with_tissue,
)

MOST_JUDGED = 400
"""Patches in which blur is looked for, spread evenly over the tissue."""

FULL_OF_TISSUE = 0.5
"""Share of a patch that shows tissue where its blur is judged: an edge of glass looks blurred."""

_SMOOTHING = np.ones((9, 9), np.uint8)
"""Gaps of so many pixels of the overview are closed in the outline of the tissue; its share is not."""

_AT_ONCE = 16
_WORDS: Mapping[str, str] = {"empty": "Too little tissue", "blur": "Out of focus", "pen": "Marked by a pen"}
_TISSUE, _BLURRED, _PEN = "#009E73", "#D55E00", "#0072B2"


@dataclass(frozen=True, slots=True)
class Quality:
    """What was measured.

    Attributes
    ----------
    tissue, pen:
        Shares of the slide, 0 to 1.
    blurred:
        Share of the patches that were judged, 0 to 1.
    median_blur:
        Of the patches that were judged; ``None`` where there is none.
    """

    tissue: float
    pen: float
    blurred: float
    median_blur: float | None

    def findings(self, settings: TechcyteAnalysisSettings) -> tuple[str, ...]:
        """Return which of ``QC_FINDINGS`` the settings see in it."""
        found = {
            "empty": self.tissue < settings.least_tissue,
            "blur": self.blurred > settings.most_blurred,
            "pen": self.pen > settings.most_pen,
        }
        return tuple(name for name in QC_FINDINGS if found[name])


def reasons(findings: tuple[str, ...], names: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return what is sent as ``qcFailReasons``.

    An empty list says that the scan is good: where something was found that has no name at the company,
    nothing is said instead.
    """
    known = tuple(names[finding] for finding in findings if finding in names)
    return None if findings and not known else known


def check(
    slide: LocalSlide,
    settings: TechcyteAnalysisSettings,
    progress: Callable[[str], None],
    waits: Cancellation,
) -> Shown:
    """Check a scan.

    Raises
    ------
    ImageError, AnalysisError
        When it cannot be read, or not at the resolution of the settings.
    Cancelled, TimeoutError
    """
    progress("looking for tissue")
    seen = overview_of(slide, waits)
    judged = _judged(patches_with_tissue(slide, seen, settings.um_per_px))
    blur = _blur(judged, progress, waits)
    is_blurred = blur >= settings.blurred_from
    quality = Quality(
        float(seen.tissue.mean()),
        float(seen.pen.mean()),
        float(is_blurred.mean()) if len(blur) else 0.0,
        float(np.median(blur)) if len(blur) else None,
    )
    return _shown(quality, settings, slide.slide, seen, _areas(judged, is_blurred))


def _judged(patches: SlidePatches) -> SlidePatches:
    """Return the patches whose blur is measured."""
    full = np.flatnonzero(patches.tissue >= FULL_OF_TISSUE)
    spread = np.linspace(0, len(full) - 1, min(len(full), MOST_JUDGED)).round().astype(int)
    return patches.only(full[spread])


def _blur(patches: SlidePatches, progress: Callable[[str], None], waits: Cancellation) -> Float64Array:
    found: list[float] = []
    for start in range(0, len(patches), _AT_ONCE):
        waits.require_time()
        some = patches.patches[start : start + _AT_ONCE]
        found += map(blur_effect, patches.slide.read(patches.view, some, waits))
        progress(f"{len(found)} of {len(patches)} patches")
    return np.array(found, np.float64)


def _areas(judged: SlidePatches, is_blurred: BoolArray) -> tuple[Polygon, ...]:
    return outline(judged.as_lattice(), is_blurred) if is_blurred.any() else ()


def _shown(
    quality: Quality,
    settings: TechcyteAnalysisSettings,
    slide: Slide[ScaledLevel],
    seen: Overview,
    blurred: tuple[Polygon, ...],
) -> Shown:
    findings = quality.findings(settings)
    smooth = cv2.morphologyEx(seen.tissue.astype(np.uint8), cv2.MORPH_CLOSE, _SMOOTHING).astype(np.bool_)
    tissue, pen = (mask_areas(mask, slide.width, slide.height) for mask in (smooth, seen.pen))
    median = "not measured" if quality.median_blur is None else f"{quality.median_blur:.2f}"
    rows = (
        ("Tissue", f"{quality.tissue:.1%} of the slide"),
        ("Out of focus", f"{quality.blurred:.1%} of the tissue that was looked at"),
        ("Blur effect, median", f"{median} (0 is sharp, from {settings.blurred_from:g} on out of focus)"),
        ("Pen", f"{quality.pen:.2%} of the slide"),
    )
    return Shown(
        title="Image quality",
        key="Quality",
        value="; ".join(_WORDS[finding] for finding in findings) or "Nothing found",
        rows=rows,
        segments=(
            segment("Tissue", tissue, _TISSUE, f"{quality.tissue:.1%} of the slide"),
            segment("Out of focus", blurred, _BLURRED, "of the patches that were looked at"),
            segment("Pen", pen, _PEN),
        ),
        facts={
            "tissue": round(quality.tissue, 4),
            "out_of_focus": round(quality.blurred, 4),
            "pen": round(quality.pen, 5),
        },
        qc_fail_reasons=reasons(findings, settings.reasons_by_finding()),
    )
