"""Slides and pictures, opened: their levels, sources of their patches, and what is known of them."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from dicom_io.codecs.dicom_file import is_dicom_file
from dicom_io.codecs.raster import RasterFile
from dicom_io.colour.transforms import to_rgb
from dicom_io.errors import ImageError
from dicom_io.geometry import Spacing, UInt8Array
from dicom_io.local.opening import open_slide
from dicom_io.local.slide import BrokenTiff, LocalSlide, NotASlide, believed_scale
from dicom_io.reading import ReadOptions
from dicom_io.slides.level import Level, ScaledLevel
from dicom_io.slides.pyramid import pyramid_levels
from dicom_io.slides.series import Series
from dicom_io.slides.slide import Slide
from dicom_io.slides.tissue import overview_of
from dicom_io.sources.encoded import EncodedSource, GcsSource
from dicom_io.sources.raster import RasterImage
from dicom_io.sources.session import ReadContext, ReadSession, Source
from dicom_io.sources.shared_raster import SharedRaster
from dicom_io.sources.slide_level import DicomWebSource
from dicom_io.waiting import Cancellation
from dicom_io.web.credentials import BearerToken
from dicom_io.web.gcs import parse_gcs_uri
from dicom_io.web.series_path import SeriesPath, parse_series_path
from serving.errors import Code
from serving.output.files import as_text
from serving.output.table import Identity

_DEADLINE_S = 300.0

_MOST_PICTURE_BYTES = 1 << 30
"""A larger file is a slide, or nothing that is read here."""

_PICTURES = (
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"BM",
    b"RIFF",
    b"\xff\x0a",
    b"\x00\x00\x00\x0c",
    b"\xff\x4f\xff\x51",
)
"""How PNG, JPEG, BMP, WebP, JPEG XL and JPEG 2000 begin: no slide does."""

A = TypeVar("A")


class TargetError(Exception):
    """The target cannot be embedded; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class OpenedSlide:
    """A slide, or a picture: that is one of a single level.

    Attributes
    ----------
    slide:
        Levels with the sizes of their pixels, where these are known and believed.
    identities:
        Of each level.
    source:
        Returns a level, by its index, as a source of patches.
    overview:
        Returns the whole, uint8 RGB ``[rows, columns, 3]``.
    facts:
        What is known of it, as JSON: its format, digest, and ``mpp``, what itself says of level 0.
    by_name:
        Whether a service can be asked for its patches by name; else they are read here and sent.
    scaled_by_caller:
        Whether the caller has said how large the pixels are.
    """

    slide: Slide[ScaledLevel]
    identities: tuple[Identity, ...]
    source: Callable[[int], Source]
    overview: Callable[[], UInt8Array]
    facts: Mapping[str, object] = field(repr=False)
    by_name: bool = True
    scaled_by_caller: bool = False

    def given_spacing(self, level: int) -> Spacing | None:
        """Return the size of a level's pixels as stored where the caller has given it."""
        return self.slide.levels[level].spacing if self.scaled_by_caller else None


@dataclass(frozen=True, slots=True)
class _PlainLevel:
    """A level of which nothing but its size and scale is known here."""

    width: int
    height: int
    spacing: Spacing | None


@contextlib.contextmanager
def opened(where: str, mpp: float | None, token: str | None, context: ReadContext) -> Iterator[OpenedSlide]:
    """Open what a command line names.

    Parameters
    ----------
    where:
        A path, ``gs://BUCKET/OBJECT``, or the address of a series.
    mpp:
        Size of a pixel of level 0 in µm, in place of what the slide says.
    token:
        The caller's token for the store.

    Raises
    ------
    TargetError
        When there is no such file.
    ImageError
        When a store or an image has a fault.
    """
    bearer = None if token is None else BearerToken(token)
    if where.startswith(("https://", "http://")):
        yield _series(_address(parse_series_path, where, Code.DICOM_PATH_ERROR), mpp, bearer, context)
    elif where.startswith("gs://"):
        uri = _address(parse_gcs_uri, where, Code.GCS_IMAGE_PATH_FORMAT_ERROR)
        data = context.gcs.fetch(uri, bearer, Cancellation(time.monotonic() + _DEADLINE_S))
        yield _picture(where, data, mpp, context, lambda shared: _KeptObject(uri, bearer, shared))
    else:
        with contextlib.ExitStack() as files:
            yield _local(where, mpp, context, files)


def _address(parse: Callable[[str], A], where: str, code: Code) -> A:
    try:
        return parse(where)
    except ValueError as error:
        raise TargetError(f"{code}: {where} {error}.") from error


def _local(where: str, mpp: float | None, context: ReadContext, files: contextlib.ExitStack) -> OpenedSlide:
    """Return a picture by its first bytes, else a slide, else a picture of a kind that slides share."""
    path = Path(where)
    try:
        if path.is_file() and _begins_as_picture(path):
            if path.stat().st_size > _MOST_PICTURE_BYTES:
                most = _MOST_PICTURE_BYTES >> 20
                raise TargetError(f"{as_text(where)} is a picture of more than {most} MiB, too much to read.")
            return _picture(as_text(where), path.read_bytes(), mpp, context)
        if not path.exists():
            raise TargetError(f"{as_text(where)} cannot be read: No such file or directory.")
        try:
            local = files.enter_context(open_slide(path, context, slide_mpp=mpp))
        except ImageError as error:
            if (data := _bytes_of_picture(path, error, context)) is None:
                raise
            return _picture(as_text(where), data, mpp, context)
    except OSError as error:
        raise TargetError(f"{as_text(where)} cannot be read: {error.strerror or error}.") from error
    return replace(_of_local(as_text(where), local), scaled_by_caller=mpp is not None)


def _begins_as_picture(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(16).startswith(_PICTURES)


def _bytes_of_picture(path: Path, error: ImageError, context: ReadContext) -> bytes | None:
    """Return the bytes of a file that is no slide but a picture: a TIFF in strips, or DICOM of another kind.

    A slide that is damaged is not taken for a picture, though it may begin as one. Without OpenSlide nothing
    tells them apart, and what is not too large is a picture.
    """
    if isinstance(error, BrokenTiff) or not path.is_file() or path.stat().st_size > _MOST_PICTURE_BYTES:
        return None
    data = path.read_bytes()
    may_be_picture = isinstance(error, NotASlide) or find_spec("openslide") is None or is_dicom_file(data)
    if not may_be_picture:
        return None
    try:
        RasterFile(data, context.max_image_pixels)
    except ImageError:
        return None
    return data


def _of_local(name: str, local: LocalSlide) -> OpenedSlide:
    facts = local.facts
    uids = facts.sop_uids or tuple((name,) for _ in local.slide.levels)
    identities = tuple(Identity(facts.study_uid, facts.series_uid, uid) for uid, *_ in uids)
    known = {
        "format": facts.format,
        "mpp": _pair(facts.spacing),
        "objective_power": facts.objective_power,
        "digest": facts.digest,
        "icc_profile": facts.has_icc_profile,
    }
    return OpenedSlide(local.slide, identities, local.source, local.overview, known, by_name=False)


@dataclass(frozen=True, slots=True)
class _KeptPicture(EncodedSource):
    """An encoded image that is decoded once for all chunks; a service is sent its bytes."""

    shared: SharedRaster = field(repr=False)

    def open(self, options: ReadOptions, session: ReadSession) -> RasterImage:
        """Return the image, whose header has been read."""
        return RasterImage(self.shared, options, session)


@dataclass(frozen=True, slots=True)
class _KeptObject(GcsSource):
    """An object in Cloud Storage fetched and decoded once for all chunks; a service is sent its name."""

    shared: SharedRaster = field(repr=False)

    def open(self, options: ReadOptions, session: ReadSession) -> RasterImage:
        """Return the image, whose header has been read."""
        return RasterImage(self.shared, options, session)


def _picture(
    name: str,
    data: bytes,
    mpp: float | None,
    context: ReadContext,
    source: Callable[[SharedRaster], Source] | None = None,
) -> OpenedSlide:
    shared = SharedRaster(lambda: data, context.decoders, context.max_image_pixels, traced=True)
    header = shared.header()
    level = _PlainLevel(header.width, header.height, believed_scale(None, mpp).spacing)
    kept = _KeptPicture(lambda: data, shared) if source is None else source(shared)
    return OpenedSlide(
        Slide((level,), "a picture does not say how large its pixels are"),
        (Identity(None, None, name),),
        lambda _: kept,
        lambda: overview_of(to_rgb(shared.raster().pixels)),
        {"format": "picture", "mpp": None, "digest": hashlib.sha256(data).hexdigest()},
        scaled_by_caller=mpp is not None,
    )


def _series(
    path: SeriesPath, mpp: float | None, token: BearerToken | None, context: ReadContext
) -> OpenedSlide:
    def series() -> Series:
        return context.dicomweb.series(path, token, Cancellation(time.monotonic() + _DEADLINE_S))

    levels = pyramid_levels(series().instances(), strict=context.levels.strict)
    if not levels:
        raise TargetError("The series has no image of a slide.")
    stored = Slide(levels)

    def overview() -> UInt8Array:
        return stored.overview(context.levels.of_series(series(), levels), context.levels.max_pixels)

    return OpenedSlide(
        _scaled(levels, mpp),
        tuple(Identity(path.study_uid, path.series_uid, level.sop_uids[0]) for level in levels),
        lambda index: DicomWebSource(path, levels[index].sop_uids, token),
        overview,
        {"format": "dicom", "mpp": _pair(stored.spacing)},
        scaled_by_caller=mpp is not None,
    )


def _scaled(levels: tuple[Level, ...], mpp: float | None) -> Slide[ScaledLevel]:
    """Return the levels of a series with the size of a pixel that is given, or believed."""
    scale = believed_scale(levels[0].spacing, mpp)
    if scale.spacing == levels[0].spacing:
        return Slide(levels, scale.why_not)
    whole, spacing = levels[0], scale.spacing
    return Slide(
        tuple(
            _PlainLevel(
                level.width,
                level.height,
                spacing
                and Spacing(spacing.x * whole.width / level.width, spacing.y * whole.height / level.height),
            )
            for level in levels
        ),
        scale.why_not,
    )


def _pair(spacing: Spacing | None) -> list[float] | None:
    return None if spacing is None else [spacing.x, spacing.y]
