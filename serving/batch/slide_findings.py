"""What every DICOM requirement comes to for each level of a slide, those that are refused included."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dicom_io.colour.profiles import IccTarget
from dicom_io.errors import ImageError
from dicom_io.local.header_series import HeaderSeries
from dicom_io.local.opening import dicom_instances_of
from dicom_io.slides.attributes import printable
from dicom_io.slides.findings import Finding
from dicom_io.slides.instance import SopInstance
from dicom_io.slides.level_rules import images_of_pyramid
from dicom_io.slides.series import Series
from dicom_io.sources.session import ReadContext
from dicom_io.waiting import Cancellation
from dicom_io.web.credentials import BearerToken
from dicom_io.web.series_path import parse_series_path
from serving.batch.worklist import is_address

_DEADLINE_S = 300.0


@dataclass(frozen=True, slots=True)
class LevelFindings:
    """A level, or what ought to be one.

    Attributes
    ----------
    sop_uids:
        Of its parts.
    """

    sop_uids: tuple[str, ...]
    findings: tuple[Finding, ...]


def findings_of(
    where: str, token: str | None, target: IccTarget, context: ReadContext
) -> tuple[LevelFindings, ...]:
    """Return what requirements come to for each level of a DICOM slide, largest first; none of other slides.

    Parameters
    ----------
    where, token:
        See ``opened``.
    target:
        Colour space that pixels would be transformed to.

    Raises
    ------
    ImageError
        When the files, or the store, cannot be read.
    """
    waits = Cancellation(time.monotonic() + _DEADLINE_S)
    if where.startswith(("https://", "http://")):
        try:
            path = parse_series_path(where)
        except ValueError:
            return ()  # it is said to be none when it is opened
        bearer = None if token is None else BearerToken(token)
        series: Series = context.dicomweb.series(path, bearer, waits)
        return _of_series(series, target, context, transcodes=True)
    if is_address(where) or not Path(where).exists():
        return ()
    instances = dicom_instances_of(Path(where))
    held = HeaderSeries(instances, context.io.at(("headers", where)), waits)
    return _of_series(held, target, context, transcodes=False) if instances else ()


def holds_dicom(where: str) -> bool:
    """Return whether a path is a folder with DICOM images of microscopy, though they may be no slide."""
    try:
        return Path(where).is_dir() and bool(dicom_instances_of(Path(where)))
    except (ImageError, OSError):
        return False


def _of_series(
    series: Series, target: IccTarget, context: ReadContext, *, transcodes: bool
) -> tuple[LevelFindings, ...]:
    levels: dict[str, list[SopInstance]] = {}
    instances = series.instances()
    for image in images_of_pyramid(instances) or instances:
        levels.setdefault(image.concatenation_uid or str(image.sop_uid), []).append(image)
    return tuple(
        LevelFindings(
            tuple(printable(uid) for uid in uids),
            context.levels.findings(series, uids, target, transcodes=transcodes),
        )
        for uids in (
            [str(part.sop_uid) for part in parts]
            for parts in sorted(levels.values(), key=_pixels, reverse=True)
        )
    )


def _pixels(parts: Sequence[SopInstance]) -> int:
    first = parts[0]
    return (first.total_columns or first.columns or 0) * (first.total_rows or first.rows or 0)
