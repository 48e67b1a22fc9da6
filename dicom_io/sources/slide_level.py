"""A level of a DICOMweb series as a source of patches."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace

from dicom_io.colour.profiles import IccTarget
from dicom_io.errors import ImageError
from dicom_io.reading import ReadOptions
from dicom_io.slides.findings import Finding, findings
from dicom_io.slides.level_image import LevelImage
from dicom_io.slides.opening import FoundLevel
from dicom_io.slides.pyramid import select_level
from dicom_io.sources.client_state import SlideState
from dicom_io.sources.session import ReadSession
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
        series = context.dicomweb.series(self.path, self.token, session.waits)
        opener = context.levels
        found = self._known(options.icc_target, strict=opener.strict) or opener.find(
            series, self.instance_uids, options.icc_target
        )
        frames = opener.frames(series, found)
        # What was asked for, whatever a client's state says of it.
        identity = replace(
            frames.origin.identity, study_uid=self.path.study_uid, series_uid=self.path.series_uid
        )
        origin = replace(frames.origin, identity=identity)
        return opener.read(replace(frames, origin=origin), options, session.measure)

    def findings(self, options: ReadOptions, session: ReadSession) -> tuple[Finding, ...]:
        """Return what every requirement comes to, whether the level can be opened or not.

        Raises
        ------
        ImageError
            Of the store.
        """
        opener = session.context.levels
        if self.state is not None and self._known(options.icc_target, strict=opener.strict) is not None:
            return findings(self.state.instances, self.instance_uids, strict=opener.strict)
        series = session.context.dicomweb.series(self.path, self.token, session.waits)
        return opener.findings(series, self.instance_uids, options.icc_target)

    def _known(self, target: IccTarget, *, strict: bool) -> FoundLevel | None:
        """Return the level where the client's state says all that is needed."""
        state = self.state
        if state is None or not (state.knows_icc or target is IccTarget.NONE):
            return None
        try:
            level = select_level(state.instances, self.instance_uids, strict=strict)
        except ImageError:
            return None  # the store's own metadata tells what is wrong, if anything is
        return FoundLevel(level, state.icc_profile, tells_icc=state.knows_icc)
