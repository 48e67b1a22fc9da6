"""Slides as the page sees them, wherever they are: a folder's file, or a series of a DICOMweb store.

The place for further kinds: what has levels, frames and a source for predictions can be shown.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field

from dicom_io.local.slide import LocalSlide, believed_scale
from dicom_io.reading import OpenedImage, ReadOptions
from dicom_io.slides.level import Level, ScaledLevel
from dicom_io.slides.opening import FoundLevel, LevelFrames
from dicom_io.slides.pyramid import pyramid_levels
from dicom_io.slides.slide import Slide
from dicom_io.sources.session import ReadSession
from dicom_io.web.credentials import BearerToken
from serving.errors import Code, ServiceError
from serving.view.folder import SlideFolder
from serving.view.handles import Handle, SeriesHandle
from serving.view.source import VIEW_FIELD


@dataclass(frozen=True, slots=True)
class ViewedSlide:
    """A slide, opened for one request.

    Attributes
    ----------
    key:
        Which slide, and with whose rights it is read.
    is_near:
        Whether its frames are read from this machine's disk.
    facts:
        What the page is told of it, as JSON: its name, format, digest, objective.
    frames:
        Returns a level, by its index, with its frames.
    source:
        Returns the fields, without a token, by which an instance of a prediction names a level.
    """

    key: Hashable
    slide: Slide[ScaledLevel]
    is_near: bool
    facts: Mapping[str, object] = field(repr=False)
    frames: Callable[[int], LevelFrames] = field(repr=False)
    source: Callable[[int], Mapping[str, object]] = field(repr=False)
    session: ReadSession = field(repr=False)

    def open(self, index: int, options: ReadOptions) -> OpenedImage:
        """Open a level for reading; an ``OpenLevel``."""
        session = self.session
        return session.context.levels.read(self.frames(index), options, session.measure)


class SlideOpener:
    """Opens slides by their handles.

    Parameters
    ----------
    folder:
        The slides on this machine.
    """

    def __init__(self, folder: SlideFolder) -> None:
        self.folder = folder

    @contextlib.contextmanager
    def opened(
        self, handle: Handle, token: BearerToken | None, session: ReadSession
    ) -> Iterator[ViewedSlide]:
        """Yield a slide.

        Parameters
        ----------
        token:
            The caller's, for the store of a series.

        Raises
        ------
        ServiceError
            NOT_FOUND_ERROR
        ImageError
            Of the store or the file.
        """
        if isinstance(handle, SeriesHandle):
            yield _of_series(handle, token, session)
            return
        name = self.folder.find(handle).name
        with self.folder.lent(handle) as local:
            yield _of_file(handle.text, name, local, session)


def _of_file(handle: str, name: str, local: LocalSlide, session: ReadSession) -> ViewedSlide:
    facts = local.facts
    return ViewedSlide(
        key=("file", handle, facts.digest),
        slide=local.slide,
        is_near=True,
        facts={
            "name": name,
            "format": facts.format,
            "digest": facts.digest,
            "objective": facts.objective_power,
        },
        frames=lambda index: local.frames(index, session),
        source=lambda index: {VIEW_FIELD: {"slide": handle, "level": index}},
        session=session,
    )


def _of_series(handle: SeriesHandle, token: BearerToken | None, session: ReadSession) -> ViewedSlide:
    path, opener = handle.path, session.context.levels
    series = session.context.dicomweb.series(path, token, session.waits)
    levels = pyramid_levels(series.instances(), strict=opener.strict)
    if not levels:
        raise ServiceError(Code.DICOM_ERROR, "The series has no image of a slide.")

    def source(index: int) -> Mapping[str, object]:
        return {"dicom_path": {"series_path": str(path.url), "instance_uids": list(levels[index].sop_uids)}}

    return ViewedSlide(
        key=("series", series.key),
        slide=_believed(levels),
        is_near=False,
        facts={"name": path.series_uid, "format": "dicom", "digest": None, "objective": None},
        frames=lambda index: opener.frames(series, FoundLevel(levels[index], None)),
        source=source,
        session=session,
    )


@dataclass(frozen=True, slots=True)
class _Unscaled:
    width: int
    height: int
    spacing: None = None


def _believed(levels: tuple[Level, ...]) -> Slide[ScaledLevel]:
    """Return the levels of a series; without a scale, where what they say of it cannot be believed."""
    scale = believed_scale(levels[0].spacing, None)
    if scale.spacing is not None:
        return Slide(levels)
    return Slide(tuple(_Unscaled(level.width, level.height) for level in levels), scale.why_not)
