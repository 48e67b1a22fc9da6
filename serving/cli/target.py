"""What ``pathserve embed`` embeds: a file, an object or a level of a series, and its grid of patches."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from dicom_io.colour.transforms import to_rgb
from dicom_io.geometry import Rect
from dicom_io.slides.level import Level
from dicom_io.slides.pyramid import pyramid_levels
from dicom_io.slides.series import Series
from dicom_io.slides.slide import OverviewTooLarge, Slide, grid
from dicom_io.slides.tissue import TissueMap, find_tissue
from dicom_io.sources.encoded import EncodedSource, GcsSource
from dicom_io.sources.session import ReadContext, Source
from dicom_io.sources.shared_raster import SharedRaster
from dicom_io.sources.slide_level import DicomWebSource
from dicom_io.waiting import Cancellation
from dicom_io.web.credentials import BearerToken
from dicom_io.web.gcs import parse_gcs_uri
from dicom_io.web.series_path import SeriesPath, parse_series_path
from model.encoder import PATCH_SIDE
from serving.errors import Code

_DEADLINE_S = 300.0

A = TypeVar("A")


class TargetError(Exception):
    """The target cannot be embedded; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Target:
    """One image, or one level of a slide.

    Attributes
    ----------
    source:
        What opens it.
    study, series, instance:
        UIDs of a slide; ``instance`` is the file or the object of another image.
    level:
        Index of the level, 0 is the largest.
    width, height:
        Size in pixels.
    tissue:
        Where tissue is; ``None`` where it was not looked for.
    digest:
        SHA-256 of a file's or an object's bytes.
    """

    source: Source
    study: str | None
    series: str | None
    instance: str
    level: int
    width: int
    height: int
    tissue: TissueMap | None = field(repr=False)
    digest: str | None = None

    def grid(self, stride: int, min_tissue: float) -> list[tuple[int, int]]:
        """Return the origins of the patches that lie fully inside, row by row.

        Parameters
        ----------
        stride:
            Pixels from one patch to the next.
        min_tissue:
            Least share of a patch, 0 to 1, that must show tissue, where it was looked for.
        """
        patches = grid(Rect(0, 0, self.width, self.height), PATCH_SIDE, stride)
        if self.tissue is not None:
            patches = self.tissue.where(patches, min_tissue)
        return [(patch.x, patch.y) for patch in patches]


def find_target(
    where: str, level: int, token: str | None, context: ReadContext, *, look_for_tissue: bool
) -> Target:
    """Open the target that a command line names.

    Parameters
    ----------
    where:
        A file's path, ``gs://BUCKET/OBJECT``, or the address of a series.
    token:
        The caller's token for the store.

    Raises
    ------
    TargetError
        When there is no such file or level.
    ImageError
        When a store or an image has a fault.
    """
    bearer = None if token is None else BearerToken(token)
    if where.startswith(("https://", "http://")):
        return _series(
            _address(parse_series_path, where, Code.DICOM_PATH_ERROR),
            level,
            bearer,
            context,
            look_for_tissue,
        )
    if level != 0:
        raise TargetError("--level is for series; an image has one level.")
    if where.startswith("gs://"):
        uri = _address(parse_gcs_uri, where, Code.GCS_IMAGE_PATH_FORMAT_ERROR)
        data = context.gcs.fetch(uri, bearer, Cancellation(time.monotonic() + _DEADLINE_S))
        return _image(GcsSource(uri, bearer), where, data, context, look_for_tissue)
    try:
        data = Path(where).read_bytes()
    except OSError as error:
        raise TargetError(f"{where} cannot be read: {error.strerror}.") from error
    # A table holds text; a file's name on this system may be any bytes.
    name = os.fsencode(where).decode("utf-8", "replace")
    return _image(EncodedSource(lambda: data), name, data, context, look_for_tissue)


def _address(parse: Callable[[str], A], where: str, code: Code) -> A:
    try:
        return parse(where)
    except ValueError as error:
        raise TargetError(f"{code}: {where} {error}.") from error


def _image(source: Source, name: str, data: bytes, context: ReadContext, look_for_tissue: bool) -> Target:
    shared = SharedRaster(lambda: data, context.decoders, context.max_image_pixels)
    header = shared.header()
    width, height = header.width, header.height
    tissue = find_tissue(to_rgb(shared.raster().pixels), width, height) if look_for_tissue else None
    return Target(source, None, None, name, 0, width, height, tissue, hashlib.sha256(data).hexdigest())


def _series(
    path: SeriesPath,
    level: int,
    token: BearerToken | None,
    context: ReadContext,
    look_for_tissue: bool,
) -> Target:
    def series() -> Series:
        return context.dicomweb.series(path, token, Cancellation(time.monotonic() + _DEADLINE_S))

    levels = pyramid_levels(series().instances(), strict=context.levels.strict)
    if not 0 <= level < len(levels):
        sizes = ", ".join(f"{i}: {found.width}x{found.height}" for i, found in enumerate(levels))
        raise TargetError(f"The series has no level {level}; it has {sizes or 'no image'}.")
    chosen = levels[level]
    tissue = None
    if look_for_tissue:
        tissue = _tissue(Slide(levels), series(), context).over(chosen.width, chosen.height)
    return Target(
        DicomWebSource(path, chosen.sop_uids, token),
        path.study_uid,
        path.series_uid,
        chosen.sop_uids[0],
        level,
        chosen.width,
        chosen.height,
        tissue,
    )


def _tissue(slide: Slide[Level], series: Series, context: ReadContext) -> TissueMap:
    try:
        return slide.tissue(context.levels.of_series(series, slide.levels), context.levels.max_pixels)
    except OverviewTooLarge as error:
        raise TargetError(f"{error.description} Embed all of it with --all.") from error
