"""DICOMweb series as a source of patches."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from dicom_io.codecs.frame_format import FrameFormat
from dicom_io.colour.profiles import IccTarget
from dicom_io.errors import ImageCode, ImageError, Remedy
from dicom_io.io_threads import run_together
from dicom_io.reading import ReadOptions, ReadSession
from dicom_io.slides.frame_fetcher import FrameFetcher
from dicom_io.slides.instance import IccReference, SopInstance
from dicom_io.slides.level_image import LevelImage
from dicom_io.slides.pyramid import Level, pyramid_images, select_level
from dicom_io.sources.client_state import SlideState
from dicom_io.web.credentials import BearerToken
from dicom_io.web.series_path import SeriesPath


@dataclass(frozen=True, slots=True)
class DicomWebSource:
    """``dicom_path`` with ``bearer_token``: a level of a series in a DICOMweb store."""

    path: SeriesPath
    instance_uids: tuple[str, ...]
    token: BearerToken | None = field(repr=False)
    state: SlideState | None = None

    @property
    def remote(self) -> bool:
        """Opening it asks the store for metadata."""
        return True

    @property
    def shared_key(self) -> None:
        """Frames are shared by the frame cache."""
        return

    @property
    def origin(self) -> Hashable:
        """Who is waited for."""
        return self.path.store.origin

    def open(self, options: ReadOptions, session: ReadSession) -> LevelImage:
        """Read the series' metadata, select the level and check it against the API's requirements."""
        context = session.context
        context.dicomweb.check(self.path)
        level, profile = self._told_by_state(options.icc_target, session) or self._told_by_store(
            options.icc_target, session
        )
        instance = level.instance
        form = FrameFormat(
            level.tile_width,
            level.tile_height,
            instance.samples or 0,
            str(instance.photometric),
            instance.planar,
        )
        if form.width * form.height > context.max_image_pixels:
            raise ImageError(
                ImageCode.DICOM_ERROR,
                f"A frame of {form.width}x{form.height} pixels is beyond this service's limit of "
                f"{context.max_image_pixels} pixels.",
            )
        return LevelImage(
            level,
            options,
            context.transforms.to_rgb(profile, options.icc_target, form.samples),
            FrameFetcher(
                context.dicomweb,
                context.frames,
                context.io.at(self.origin),
                self.path,
                self.token,
                level,
                form,
                session.waits,
            ),
            form,
            session.measure,
        )

    def _told_by_state(self, target: IccTarget, session: ReadSession) -> tuple[Level, bytes | None] | None:
        """Return the level and its ICC profile where the client's state says all that is needed."""
        state = self.state
        if state is None or not (state.knows_icc or target is IccTarget.NONE):
            return None
        try:
            level = select_level(state.instances, self.instance_uids, strict=session.context.strict_dicom)
        except ImageError:
            return None  # the store's own metadata say what is wrong, if anything is
        return level, state.icc_profile

    def _told_by_store(self, target: IccTarget, session: ReadSession) -> tuple[Level, bytes | None]:
        context = session.context
        instances = context.dicomweb.instances_for(self.path, self.instance_uids, self.token, session.waits)
        level = select_level(instances, self.instance_uids, strict=context.strict_dicom)
        return level, self._icc_profile(instances, level, target, session)

    def _icc_profile(
        self, instances: Sequence[SopInstance], level: Level, target: IccTarget, session: ReadSession
    ) -> bytes | None:
        """Return the level's profile where it is wanted, having seen that all levels have the same.

        A thumbnail without a profile says nothing against the others'.
        """
        if target is IccTarget.NONE:
            return None
        images = pyramid_images(instances) if level.instance.is_whole_slide else level.parts
        siblings = {i.icc for i in images if i.icc is not None or not i.is_thumbnail} | {level.instance.icc}

        def fetch(reference: IccReference | None) -> bytes | None:
            if reference is None or reference.uri is None:
                return None if reference is None else reference.inline
            return session.context.dicomweb.icc_profile(self.path, reference.uri, self.token, session.waits)

        # This is one of the executor's threads already; it fetches, too, and others help where they are free.
        found = run_together(session.context.io.at(self.origin), fetch, siblings)
        profiles = {None if profile is None else without_padding(profile) for profile in found}
        if len(profiles) > 1:
            raise ImageError(
                ImageCode.DICOM_ERROR,
                "The levels of the pyramid have different ICC profiles.",
                Remedy.COLOUR_AS_STORED,
            )
        return profiles.pop()


def without_padding(profile: bytes) -> bytes:
    """Return an ICC profile as long as it says it is (ICC.1:2010, 7.2.2), where only zeros follow."""
    size = int.from_bytes(profile[:4], "big")
    return profile[:size] if 128 <= size < len(profile) and not any(profile[size:]) else profile
