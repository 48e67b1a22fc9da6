"""Preflight: what would become of a request, without a frame fetched and without a pixel decoded.

Images are opened by the code that predictions open them with, in the same order and against the same limits,
and closed again: what is refused here is refused there, in the same words. What only pixels can tell, such as
a frame that is cut off, is not found here.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from dicom_io.errors import ImageCode, ImageError
from dicom_io.geometry import Sampling
from dicom_io.reading import Needs, OpenedImage
from dicom_io.slides.findings import Finding
from dicom_io.sources.session import ReadSession, Source
from dicom_io.sources.slide_level import DicomWebSource
from dicom_io.waiting import Cancelled
from dicom_io.web.credentials import fingerprint
from serving.errors import Fault
from serving.pipeline.faults import Faults
from serving.pipeline.magnification import Judgement, MagnificationGuard, judge
from serving.pipeline.opening import Opened, OpenedImages, open_instance
from serving.pipeline.speed import Pace, Speed
from serving.pipeline.types import Instance, Item, patch_count
from serving.pipeline.waits import Waits

_OF_THE_STORE = frozenset(
    {
        ImageCode.HTTP_ERROR,
        ImageCode.INVALID_CREDENTIALS_ERROR,
        ImageCode.DICOM_PATH_ERROR,
        ImageCode.UNAPPROVED_DICOM_STORE_ERROR,
    }
)
"""Faults after which the store is not asked again for what its metadata says."""


@dataclass(frozen=True, slots=True, eq=False)
class LevelReport:
    """A level that instances name, and what every requirement comes to for it. Compared by identity.

    Attributes
    ----------
    study_uid, series_uid, sop_uids:
        As the instances name it.
    """

    study_uid: str
    series_uid: str
    sop_uids: tuple[str, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What embedding an instance takes.

    Attributes
    ----------
    needs:
        Frames and bytes.
    is_fetched:
        Whether these are fetched; else they have come with the request.
    pace:
        How fast this process has been at such sources lately; ``None`` where it has had none.
    sampling:
        The size at which it would be read.
    magnification:
        What the magnification guard finds of that.
    """

    patches: int
    needs: Needs
    is_fetched: bool
    pace: Pace | None
    sampling: Sampling
    magnification: Judgement

    @property
    def seconds(self) -> float | None:
        """About how long it takes."""
        return None if self.pace is None else self.patches / self.pace.patches_per_second


@dataclass(frozen=True, slots=True)
class Checked:
    """What would become of an instance.

    Attributes
    ----------
    verdict:
        How it would be embedded, or why it would not; ``None`` where each patch has a fault of its own.
    level:
        Index of the level's report; ``None`` where the instance names none, or nothing is known of it.
    patch_faults:
        Of patches that would have one, by their index; only where ``Extras.per_patch_errors`` allows them.
    """

    verdict: Plan | Fault | None
    level: int | None
    patch_faults: Mapping[int, Fault]


@dataclass(frozen=True, slots=True)
class Preflight:
    """One verdict for each item, in their order, and the levels that they name, each once."""

    checked: tuple[Checked, ...]
    levels: tuple[LevelReport, ...]


class Check:
    """One request that is checked.

    Parameters
    ----------
    extra_frames:
        Frames beyond one a patch that a prediction may have decoded.
    """

    def __init__(
        self,
        items: Sequence[Item],
        session: ReadSession,
        extra_frames: int,
        speed: Speed,
        guard: MagnificationGuard,
    ) -> None:
        self._guard = guard
        self._items = items
        self._session = session
        self._speed = speed
        self._faults, self._patch_faults = Faults(), Faults()
        self._reports = _Reports()
        self._plans: dict[int, Plan] = {}
        self._paces: dict[type[Source], Pace | None] = {}
        self._waits = Waits(session.waits)
        self._opened = OpenedImages(
            items,
            session,
            self._waits,
            self._faults,
            self._patch_faults,
            extra_frames,
            guard,
            self._reports.open,
        )

    def preflight(self) -> Preflight:
        """Open every image, plan what would be read of it, and close it.

        Raises
        ------
        Abandoned, DeadlineExceeded
        """
        try:
            while self._opened.head() is not None:
                self._plan(self._opened.take())
                self._waits.require_time()
        finally:
            self._opened.close()
        reports = [self._reports.of(item) for item in self._items]
        levels = list(dict.fromkeys(report for report in reports if report is not None))
        index = {report: number for number, report in enumerate(levels)}
        checked, first = list[Checked](), 0
        for position, (item, report) in enumerate(zip(self._items, reports, strict=True)):
            rows = range(first, first + patch_count([item]))
            fault = item if isinstance(item, Fault) else self._faults.get(position)
            checked.append(
                Checked(
                    fault or self._plans.get(position),
                    None if report is None else index[report],
                    {row - first: self._patch_faults[row] for row in rows if row in self._patch_faults},
                )
            )
            first = rows.stop
        return Preflight(tuple(checked), tuple(levels))

    def _plan(self, opened: Opened) -> None:
        image, source = opened.image, opened.instance.source
        with self._faults.of([opened.position]), contextlib.closing(image):
            self._plans[opened.position] = Plan(
                len(opened.patches),
                image.needs(opened.patches),
                source.origin is not None,
                self._pace(source),
                image.sampling,
                judge(image.sampling, self._guard.allowed),
            )

    def _pace(self, source: Source) -> Pace | None:
        """Return how fast such sources have been lately; the same for all of the request."""
        kind = type(source)
        if kind not in self._paces:
            self._paces[kind] = self._speed.pace(source)
        return self._paces[kind]


class _Reports:
    """The reports of the levels that a request's instances name, each made once. For many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reports: dict[Hashable, LevelReport] = {}

    def open(self, instance: Instance, session: ReadSession) -> OpenedImage:
        """Open an image as a prediction does, and report on its level, whether it can be opened or not."""
        try:
            image = open_instance(instance, session)
        except ImageError as error:
            if error.code not in _OF_THE_STORE:
                self._report(instance, session)
            raise
        try:
            self._report(instance, session)
        except BaseException:
            image.close()
            raise
        return image

    def of(self, item: Item) -> LevelReport | None:
        """Return the report of the level that an item names, if there is one."""
        return None if isinstance(item, Fault) else self._reports.get(_key(item))

    def _report(self, instance: Instance, session: ReadSession) -> None:
        source, key = instance.source, _key(instance)
        if not isinstance(source, DicomWebSource):
            return
        with self._lock:
            if key in self._reports:
                return
        # What the store or the deadline has against it, the verdict or the request's own thread tells.
        with contextlib.suppress(ImageError, Cancelled, TimeoutError):
            path = source.path
            found = source.findings(instance.options, session)
            report = LevelReport(path.study_uid, path.series_uid, source.instance_uids, found)
            with self._lock:
                self._reports[key] = report


def _key(instance: Instance) -> Hashable:
    """Return the same for instances whose level has the same report."""
    source = instance.source
    if not isinstance(source, DicomWebSource):
        return None
    state = None if source.state is None else id(source.state)
    return source.path, source.instance_uids, fingerprint(source.token), instance.options.icc_target, state
