"""DICOM slides in files: a ``Series`` over a folder, so that they are read as a store's are.

Which files are levels, which are parts of a concatenation, and what is refused follows from the same rules as
over DICOMweb, and frames are decoded by the same codecs: the same slide gives the same pixels from both. A
library for slides would bring rules of its own: wsidicom does not open deflated files or JPEG recompressed as
JPEG XL, and gives wrong pixels of frames in two fragments.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path

from dicom_io.codecs.encoded_image import DamagedImage
from dicom_io.codecs.frame import DECODERS
from dicom_io.codecs.frame_format import FrameFormat
from dicom_io.colour.profiles import IccTarget
from dicom_io.errors import ImageCode, ImageError
from dicom_io.local.archive import dicom_files_in, dicom_files_of_zip
from dicom_io.local.dicom_frames import FrameTable
from dicom_io.local.dicom_header import DicomFile, read_header
from dicom_io.local.files import PositionedFile, Section
from dicom_io.local.slide import NotASlide, Scale, SlideFacts, UnreadableSlide, believed_scale
from dicom_io.once import Once
from dicom_io.slides.frame_cache import EncodedFrame
from dicom_io.slides.instance import SopInstance
from dicom_io.slides.level import Level, ScaledLevel
from dicom_io.slides.opening import LevelFrames
from dicom_io.slides.pyramid import pyramid_levels
from dicom_io.slides.requirements import SOP_CLASSES
from dicom_io.slides.series import most_encoded_bytes
from dicom_io.slides.slide import Slide
from dicom_io.sources.session import ReadContext, ReadSession
from dicom_io.waiting import Cancellation, Stop


class DicomFiles:
    """The DICOM files of a slide; ``SlideFiles``.

    Parameters
    ----------
    files:
        Of one series.
    """

    def __init__(self, files: Sequence[DicomFile], context: ReadContext, slide_mpp: float | None) -> None:
        self._files = {str(file.instance.sop_uid): file for file in files}
        self._tables: dict[str, Once[FrameTable]] = {}
        self.instances = tuple(file.instance for file in self._files.values())
        levels = pyramid_levels(self.instances, strict=context.levels.strict)
        if not levels:
            raise NotASlide(
                "The DICOM files hold no level of a slide, only labels, overviews or other objects."
            )
        digest = hashlib.sha256(b"".join(file.file.ends() for _, file in sorted(self._files.items())))
        scale = believed_scale(levels[0].spacing, slide_mpp)
        first = levels[0].instance
        self.slide: Slide[ScaledLevel] = Slide(
            tuple(_scaled(level, levels[0], scale) for level in levels), scale.why_not
        )
        self.key: Hashable = ("files", digest.hexdigest())
        self.levels = levels
        self.facts = SlideFacts(
            format="dicom",
            spacing=levels[0].spacing,
            objective_power=self._files[str(first.sop_uid)].objective_power,
            study_uid=first.study_uid,
            series_uid=first.series_uid,
            sop_uids=tuple(level.sop_uids for level in levels),
            digest=digest.hexdigest(),
            has_icc_profile=first.icc is not None,
        )

    def level_frames(self, index: int, target: IccTarget, session: ReadSession) -> LevelFrames:
        """Return a level with its frames, as of a store; see ``SlideFiles``."""
        opener = session.context.levels
        series = LocalSeries(self, session.context.io.at(self.key), session.waits)
        frames = opener.frames(series, opener.find(series, self.levels[index].sop_uids, target))
        identity = replace(frames.origin.identity, digest=self.facts.digest, level=index)
        return replace(frames, origin=replace(frames.origin, identity=identity))

    def frames(
        self, instance: SopInstance, numbers: Sequence[int], form: FrameFormat, stop: Stop
    ) -> Iterator[tuple[int, EncodedFrame]]:
        """Yield frames; see ``Series.frames``."""
        uid = str(instance.sop_uid)
        file = self._files[uid]
        if file.syntax not in DECODERS:
            raise ImageError(
                ImageCode.DICOM_ERROR,
                f"Frames in transfer syntax {file.syntax} are not decoded here; SOP instance {uid}.",
            )
        # Made by the first who asks, and kept: without an offset table it is a walk through the file.
        table = self._tables.setdefault(uid, Once(lambda: _table(file, form))).get()
        for number in numbers:
            if stop.is_set():
                return
            try:
                data = table.frame(number - 1, most_encoded_bytes(form))
            except DamagedImage as error:
                raise ImageError(
                    ImageCode.DICOM_ERROR,
                    f"A frame cannot be read: {error}; SOP instance {uid}, frame {number}.",
                ) from error
            yield number, EncodedFrame(data, file.syntax)

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.file.file.close()


@dataclass(frozen=True, slots=True)
class LocalSeries:
    """The files of a series for one request; a ``Series``."""

    files: DicomFiles
    io: Executor
    waits: Cancellation

    @property
    def key(self) -> Hashable:
        """The files, by what they hold."""
        return self.files.key

    def instances(self, uids: Sequence[str] | None = None) -> tuple[SopInstance, ...]:
        """Return all instances, of which the headers have been read."""
        return self.files.instances

    def frames(
        self, instance: SopInstance, numbers: Sequence[int], form: FrameFormat, stop: Stop
    ) -> Iterator[tuple[int, EncodedFrame]]:
        """Yield frames; see ``Series.frames``."""
        return self.files.frames(instance, numbers, form, stop)

    def icc_profile(self, uri: str) -> bytes:
        """Raise: profiles in files are inline."""
        raise ImageError(ImageCode.DICOM_ERROR, "A DICOM file refers to its ICC profile by an address.")


def _table(file: DicomFile, form: FrameFormat) -> FrameTable:
    try:
        return file.frames(form)
    except DamagedImage as error:
        raise ImageError(
            ImageCode.DICOM_ERROR,
            f"The frames cannot be found: {error}; SOP instance {file.instance.sop_uid}.",
        ) from error


def _scaled(level: Level, whole: Level, scale: Scale) -> Level:
    """Return a level with the spacing that is believed."""
    if scale.spacing is None:
        changed = {"pixel_spacing": None, "imaged_width": None, "imaged_height": None}
        return replace(level, parts=tuple(replace(part, **changed) for part in level.parts))  # type: ignore[arg-type]
    if scale.spacing == whole.spacing:
        return level
    down = scale.spacing.y * whole.height / level.height / 1000
    across = scale.spacing.x * whole.width / level.width / 1000
    return replace(level, parts=tuple(replace(part, pixel_spacing=(down, across)) for part in level.parts))


def open_dicom_slide(
    path: Path, context: ReadContext, slide_mpp: float | None, *, is_zip: bool = False
) -> DicomFiles:
    """Open a DICOM slide.

    Parameters
    ----------
    path:
        A folder; a ZIP; or a file of a slide, which is read with the others of its series in its folder.

    Raises
    ------
    NotASlide
        When there is no DICOM slide in it, or more than one.
    UnreadableSlide
    ImageError
        As ``pyramid_levels``.
    """
    opened: list[Section] = []
    kept: set[PositionedFile] = set()
    try:
        with _unreadable(path):
            files = _one_series(path, opened, is_zip=is_zip)
            slide = DicomFiles(files, context, slide_mpp)
        kept = {file.file.file for file in files}
        return slide
    finally:
        _close_all_but(kept, opened)


def read_instances(path: Path, *, is_zip: bool = False) -> tuple[SopInstance, ...]:
    """Return the SOP instances of a DICOM slide, by their headers, though they may be no levels of one.

    Parameters
    ----------
    path:
        As of ``open_dicom_slide``.

    Raises
    ------
    NotASlide, UnreadableSlide
    """
    opened: list[Section] = []
    try:
        with _unreadable(path):
            return tuple(file.instance for file in _one_series(path, opened, is_zip=is_zip))
    finally:
        _close_all_but(set(), opened)


@contextlib.contextmanager
def _unreadable(path: Path) -> Iterator[None]:
    try:
        yield
    except DamagedImage as error:
        raise UnreadableSlide(f"{path.name} cannot be read: {error}.") from error
    except OSError as error:
        raise UnreadableSlide(f"{path.name} cannot be read: {error.strerror}.") from error


def _header_of(path: Path, opened: list[Section]) -> DicomFile:
    section = PositionedFile.open(path).whole()
    opened.append(section)
    return read_header(section)


def _headers(files: Iterable[Section], opened: list[Section], series: str | None) -> Iterator[DicomFile]:
    """Yield the headers of images of microscopy; other objects may lie beside a slide."""
    for section in files:
        opened.append(section)
        file = read_header(section)
        if file.file is not section:
            opened.append(file.file)
        if file.instance.sop_class in SOP_CLASSES and series in (None, file.instance.series_uid):
            yield file
        elif section.is_whole:
            section.file.close()  # at once: a folder may have more files than a process may have open


def _one_series(path: Path, opened: list[Section], *, is_zip: bool) -> list[DicomFile]:
    series = None if is_zip or path.is_dir() else _header_of(path, opened).instance.series_uid
    sections = dicom_files_of_zip(path) if is_zip else dicom_files_in(path if path.is_dir() else path.parent)
    files = list(_headers(sections, opened, series))
    if not files:
        raise NotASlide(f"{path.name} holds no DICOM images of microscopy.")
    # Labels and overviews may be a series of their own.
    found = {file.instance.series_uid for file in files if file.instance.is_level}
    if len(found) > 1:
        raise NotASlide(
            f"{path.name} holds DICOM images of {len(found)} series; name one of a slide's files, or a "
            "folder with one slide."
        )
    return [file for file in files if file.instance.series_uid in found] or files


def _close_all_but(kept: set[PositionedFile], opened: Iterable[Section]) -> None:
    for section in opened:
        if section.file not in kept:
            section.file.close()
