"""Opening a level of a series for reading: which instances it is, whether it is sound, and its colours."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import dataclass, field

from dicom_io.codecs.frame_format import FrameFormat
from dicom_io.colour.profiles import IccTarget, without_padding
from dicom_io.colour.transforms import ColourTransforms
from dicom_io.errors import ImageCode, ImageError, Remedy
from dicom_io.io_threads import run_together
from dicom_io.made_of import UNREAD, ImageIdentity
from dicom_io.reading import Measure, ReadOptions
from dicom_io.slides.attributes import printable
from dicom_io.slides.findings import Finding, RuleOutcome, fails, findings
from dicom_io.slides.frame_cache import DecodedFrame, EncodedFrame, FrameCache
from dicom_io.slides.frame_fetcher import FrameFetcher
from dicom_io.slides.instance import IccReference, SopInstance
from dicom_io.slides.level import Level, TiledLevel
from dicom_io.slides.level_image import LevelImage, LevelOrigin
from dicom_io.slides.overview import OpenLevel
from dicom_io.slides.pyramid import pyramid_images, select_level
from dicom_io.slides.requirements import Grade
from dicom_io.slides.series import FRAMES_PER_GET, FrameStore, Series
from dicom_io.waiting import Cancellation, Stop


@dataclass(frozen=True, slots=True)
class FoundLevel:
    """A level, and the ICC profile of its pixels where that is wanted; empty where it cannot be used.

    Attributes
    ----------
    tells_icc:
        Whether the level's metadata tells which profile it has: a client's may not.
    """

    level: Level
    icc_profile: bytes | None = field(repr=False)
    tells_icc: bool = True


@dataclass(frozen=True, slots=True)
class LevelFrames:
    """A level with whoever has its frames, for one request.

    Attributes
    ----------
    icc_profile:
        Of its pixels, where it is wanted.
    """

    store: FrameStore
    level: TiledLevel
    origin: LevelOrigin
    icc_profile: bytes | None = field(default=None, repr=False)

    def stored(self, frame: int) -> EncodedFrame | DecodedFrame:
        """Return a frame (from 0) as it is stored, asking whoever has it now.

        Raises
        ------
        ImageError
            Of the store; the level's ``fault_code`` when it sends none.
        """
        where = self.level.address(frame)
        for _, found in self.store.frames_of(where.part, [where.number], self.level.form, Stop()):
            return found
        raise ImageError(self.level.fault_code, f"A frame did not come: {self.level.describe(frame)}.")


@dataclass(frozen=True, slots=True)
class LevelOpener:
    """Opens levels of any series, with the caches and limits that all share in a process.

    Attributes
    ----------
    cache:
        Frames that have been read lately.
    max_pixels:
        Most pixels of what is decoded in one: a frame, or a whole level that is read to be looked over.
    strict:
        Whether requirements that are only documented refuse an image; see ``require_valid``.
    """

    cache: FrameCache[Hashable]
    transforms: ColourTransforms
    max_pixels: int
    strict: bool

    def find(self, series: Series, uids: Sequence[str], target: IccTarget) -> FoundLevel:
        """Return the level of a series that UIDs of SOP instances name.

        Parameters
        ----------
        target:
            Colour space that pixels will be transformed to; for ``NONE`` no profile is fetched.

        Raises
        ------
        ImageError
            As ``select_level``; DICOM_ERROR when the levels of the pyramid differ in their profiles.
        """
        instances = series.instances(uids)
        level = select_level(instances, uids, strict=self.strict)
        return FoundLevel(
            level, None if target is IccTarget.NONE else _common_profile(series, instances, level)
        )

    def findings(
        self, series: Series, uids: Sequence[str], target: IccTarget, *, transcodes: bool = True
    ) -> tuple[Finding, ...]:
        """Return what every requirement comes to for a level that ``find`` finds, or refuses.

        Parameters
        ----------
        transcodes:
            Whether the series' frames may come in another transfer syntax than they are stored in.

        Raises
        ------
        ImageError
            Of the store.
        """
        instances = series.instances(uids)
        found = findings(instances, uids, strict=self.strict, transcodes=transcodes)
        outcome, sentence = RuleOutcome.NOT_APPLICABLE, None
        if target is not IccTarget.NONE:
            outcome, sentence = RuleOutcome.NOT_CHECKED, None
            if not fails(found):
                outcome, sentence = self._judge_profile(series, instances, uids, target)
        return (
            *found,
            Finding(
                "ICCProfile",
                "0028,2000",
                "PS3.3, C.11.15",
                "must be the same in all levels of the pyramid, and one that the transform asked for can use",
                Grade.NEEDED,
                outcome,
                sentence,
            ),
        )

    def _judge_profile(
        self, series: Series, instances: Sequence[SopInstance], uids: Sequence[str], target: IccTarget
    ) -> tuple[RuleOutcome, str | None]:
        try:
            level = select_level(instances, uids, strict=self.strict)
            profile = _common_profile(series, instances, level)
            self.transforms.to_rgb(profile, target, level.form.samples)
        except ImageError as error:
            return RuleOutcome.FAIL, printable(error.description)
        return RuleOutcome.PASS, "no profile: the pixels are left as they are" if profile is None else None

    def open(self, series: Series, found: FoundLevel, options: ReadOptions, measure: Measure) -> LevelImage:
        """Open a level; no frame is fetched yet.

        Raises
        ------
        ImageError
            DICOM_ERROR when its frames are too large, INVALID_ICC_PROFILE_TRANSFORM_ERROR when its profile
            cannot be used.
        """
        return self.read(self.frames(series, found), options, measure)

    def frames(self, series: Series, found: FoundLevel) -> LevelFrames:
        """Return a level of a series with its frames; none is fetched."""
        level, first = found.level, found.level.instance
        identity = ImageIdentity("level", "DICOM", None, first.study_uid, first.series_uid, level.sop_uids)
        origin = LevelOrigin(identity, lambda: _own_profile(series, found))
        return LevelFrames(FramesOfSeries(series, level), level, origin, found.icc_profile)

    def of_series(self, series: Series, levels: Sequence[Level]) -> OpenLevel:
        """Return what opens the levels of a series in their colours as stored, by their index."""
        return lambda index, options: self.open(
            series, FoundLevel(levels[index], None), options, lambda _: nullcontext()
        )

    def read(self, frames: LevelFrames, options: ReadOptions, measure: Measure) -> LevelImage:
        """Open a level of any store of frames; see ``open``."""
        level = frames.level
        form = level.form
        if form.width * form.height > self.max_pixels:
            raise ImageError(
                ImageCode.DICOM_ERROR,
                f"A frame of {form.width}x{form.height} pixels is beyond this service's limit of "
                f"{self.max_pixels} pixels.",
            )
        to_rgb = self.transforms.to_rgb(frames.icc_profile, options.icc_target, form.samples)
        fetcher = FrameFetcher(frames.store, self.cache, level)
        return LevelImage(level, options, to_rgb, fetcher, measure, frames.origin, self.transforms)


@dataclass(frozen=True, slots=True)
class FramesOfSeries:
    """A series as the store of one of its levels' frames."""

    series: Series
    level: Level
    frames_per_get = FRAMES_PER_GET

    @property
    def key(self) -> Hashable:
        return self.series.key

    @property
    def io(self) -> Executor:
        return self.series.io

    @property
    def waits(self) -> Cancellation:
        return self.series.waits

    def frames_of(
        self, part: str, numbers: Sequence[int], form: FrameFormat, stop: Stop
    ) -> Iterator[tuple[int, EncodedFrame]]:
        instance = next(i for i in self.level.parts if i.sop_uid == part)
        return self.series.frames(instance, numbers, form, stop)


def _own_profile(series: Series, found: FoundLevel) -> bytes | str | None:
    """Return a level's own profile, whether it is used or not; ``UNREAD`` where it cannot be read."""
    if found.icc_profile is not None:
        return found.icc_profile
    reference = found.level.instance.icc
    if reference is None:
        return None if found.tells_icc else UNREAD
    if reference.uri is None:
        return reference.inline
    try:
        return series.icc_profile(reference.uri)
    except ImageError:
        return UNREAD  # nothing was made by it


def _common_profile(series: Series, instances: Sequence[SopInstance], level: Level) -> bytes | None:
    """Return the profile of a level, having seen that all levels of the pyramid have the same.

    A thumbnail without a profile says nothing against the others'.
    """
    images = pyramid_images(instances) if level.instance.is_whole_slide else level.parts
    references = {i.icc for i in images if i.icc is not None or not i.is_thumbnail} | {level.instance.icc}

    def fetch(reference: IccReference | None) -> bytes | None:
        if reference is None or reference.uri is None:
            return None if reference is None else reference.inline
        return series.icc_profile(reference.uri)

    # This is one of the series' threads already; it fetches, too, and others help where they are free.
    found = run_together(series.io, fetch, references)
    profiles = {None if profile is None else without_padding(profile) for profile in found}
    if len(profiles) > 1:
        raise ImageError(
            ImageCode.DICOM_ERROR,
            "The levels of the pyramid have different ICC profiles.",
            Remedy.COLOUR_AS_STORED,
        )
    return profiles.pop()
