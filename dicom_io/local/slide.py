"""A slide in local files, opened: its levels, sources of their patches, and what its files say of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from time import monotonic
from types import TracebackType
from typing import Protocol, Self

from dicom_io.colour.profiles import IccTarget
from dicom_io.errors import ImageCode, ImageError
from dicom_io.geometry import Patch, Spacing, UInt8Array
from dicom_io.reading import OpenedImage, ReadOptions, read_here
from dicom_io.slides.level import ScaledLevel
from dicom_io.slides.opening import LevelFrames
from dicom_io.slides.slide import Slide, View
from dicom_io.sources.session import ReadContext, ReadSession, Source
from dicom_io.sources.shared_raster import RasterRegistry
from dicom_io.waiting import Cancellation

FINEST_UM, COARSEST_UM = 0.05, 20.0
"""Sizes of a pixel of level 0, in µm, that are believed: many TIFFs say 72 dpi, 352.8 µm, meaning nothing."""

_OVERVIEW_S = 3600.0


class NotASlide(ImageError):
    """The file is of no kind of slide that is read here."""

    def __init__(self, description: str) -> None:
        super().__init__(ImageCode.IMAGE_ERROR, description)


class UnreadableSlide(ImageError):
    """The file is a slide, but cannot be opened: damaged, cut off, or parts of it are missing."""

    def __init__(self, description: str) -> None:
        super().__init__(ImageCode.IMAGE_ERROR, description)


class BrokenTiff(UnreadableSlide):
    """The file is a TIFF that is cut off or leads in circles: no slide, and no picture either."""


@dataclass(frozen=True, slots=True)
class SlideFacts:
    """What the files say of the slide, whatever the caller says.

    Attributes
    ----------
    format:
        OpenSlide's name of the format (``aperio``, ``hamamatsu``, ``generic-tiff``, …), or ``dicom``.
    spacing:
        Size of a pixel of level 0 as the file gives it, even where it is not believed; ``None`` for none.
    objective_power:
        Magnification of the objective, 40 for 40x.
    study_uid, series_uid:
        Of a DICOM slide.
    sop_uids:
        Of a DICOM slide the SOP instances of each level.
    digest:
        SHA-256, in hexadecimal, of the size and of the first and last 64 KiB of each file that was opened,
        and of OpenSlide's own quick hash. The same under another name; what differs only in between is not
        told apart.
    has_icc_profile:
        Whether the slide has an ICC profile.
    """

    format: str
    spacing: Spacing | None
    objective_power: float | None
    study_uid: str | None
    series_uid: str | None
    sop_uids: tuple[tuple[str, ...], ...]
    digest: str
    has_icc_profile: bool


class SlideFiles(Protocol):
    """The opened files of a slide, as one kind of slide reads them; safe for many threads."""

    @property
    def slide(self) -> Slide[ScaledLevel]: ...
    @property
    def facts(self) -> SlideFacts: ...

    def level_frames(self, index: int, target: IccTarget, session: ReadSession) -> LevelFrames:
        """Return a level with its frames, and with its ICC profile unless the target is ``NONE``."""
        ...

    def close(self) -> None:
        """Close the files, once nothing reads them any more."""
        ...


@dataclass(frozen=True, slots=True)
class LocalSource:
    """A level of a slide in local files; a ``Source``, as long as the slide is open.

    Attributes
    ----------
    index:
        Of the level in its slide.
    """

    files: SlideFiles = field(repr=False)
    index: int
    origin = None
    shared_key = None

    def open(self, options: ReadOptions, session: ReadSession) -> OpenedImage:
        """Open the level.

        Raises
        ------
        ImageError
            DICOM_IMAGE_DOWNSAMPLING_TOO_LARGE_ERROR, INVALID_ICC_PROFILE_TRANSFORM_ERROR, and of a DICOM
            slide what a level of a store raises.
        """
        frames = self.files.level_frames(self.index, options.icc_target, session)
        return session.context.levels.read(frames, options, session.measure)


class LocalSlide:
    """A slide in local files; use it as a context manager. Safe for many threads.

    ::

        with open_slide(Path("slide.svs"), context) as local:
            view = local.slide.at(0.5)
            options = ReadOptions(image_dimensions=view.image_dimensions)
            Instance(local.source(view.index), tuple(view.grid(224, 224)), options)

    Parameters
    ----------
    context:
        What the process shares; the overview is read with it.

    Attributes
    ----------
    slide:
        Levels with the spacing that is believed, or that the caller has given.
    facts:
        What the files say.
    """

    def __init__(self, files: SlideFiles, context: ReadContext) -> None:
        self.slide, self.facts = files.slide, files.facts
        self._files = files
        self._context = context

    def source(self, level: int) -> Source:
        """Return a level, by its index, as a source of patches."""
        if not 0 <= level < len(self.slide.levels):
            raise IndexError(level)
        return LocalSource(self._files, level)

    def frames(self, level: int, session: ReadSession) -> LevelFrames:
        """Return a level, by its index, with its frames in their colours as stored."""
        return self._files.level_frames(level, IccTarget.NONE, session)

    def overview(self, waits: Cancellation | None = None) -> UInt8Array:
        """Return the whole slide from its smallest level that still shows something, colours as stored.

        A slide of one large level is read whole for this, in blocks.

        Parameters
        ----------
        waits:
            Ends the reading; an hour without.

        Returns
        -------
        uint8 RGB ``[height, width, 3]``, the longer side at most ``tissue.OVERVIEW_SIDE``.

        Raises
        ------
        ImageError
        """
        session = self._session(waits or Cancellation(monotonic() + _OVERVIEW_S))
        return self.slide.overview(
            lambda index, options: self.source(index).open(options, session), sys.maxsize
        )

    def read(
        self, view: View[ScaledLevel], patches: Sequence[Patch], waits: Cancellation
    ) -> list[UInt8Array]:
        """Return patches of a view in the calling thread, colours as stored: for who needs pixels, and few.

        Returns
        -------
        uint8 RGB ``[height, width, 3]`` for each.

        Raises
        ------
        ImageError, Cancelled, TimeoutError
        """
        options = ReadOptions(image_dimensions=view.image_dimensions)
        return read_here(self.source(view.index).open(options, self._session(waits)), patches)

    def _session(self, waits: Cancellation) -> ReadSession:
        return ReadSession(self._context, waits, RasterRegistry({}), lambda _: nullcontext())

    def close(self) -> None:
        """Close the slide, once nothing reads it any more."""
        self._files.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Scale:
    """The size of a level-0 pixel that is believed.

    Attributes
    ----------
    spacing:
        ``None`` where there is none, and then ``why_not`` says why: a clause.
    """

    spacing: Spacing | None
    why_not: str


def believed_scale(stated: Spacing | None, slide_mpp: float | None) -> Scale:
    """Return which size of a pixel is used: the caller's, else the file's if it is one that scanners have.

    Parameters
    ----------
    stated:
        Of level 0, as the file gives it.
    slide_mpp:
        Of level 0 in µm, as the caller gives it.
    """
    if slide_mpp is not None:
        return Scale(Spacing(slide_mpp, slide_mpp), "")
    if stated is None:
        return Scale(None, "the file does not say how large its pixels are")
    if not all(FINEST_UM <= um <= COARSEST_UM for um in (stated.x, stated.y)):
        return Scale(
            None,
            f"the file says {max(stated.x, stated.y):g} µm a pixel, and only {FINEST_UM:g} to "
            f"{COARSEST_UM:g} are believed of a slide",
        )
    return Scale(stated, "")
