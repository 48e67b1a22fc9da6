"""From a slide to what Techcyte shows of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from dicom_io.errors import ImageError
from dicom_io.local.opening import open_slide
from dicom_io.local.slide import LocalSlide
from dicom_io.sources.session import ReadContext
from dicom_io.waiting import Cancellation
from serving.config.settings import Settings, SettingsError
from serving.config.techcyte_slides_group import TechcyteAnalysisSettings
from serving.heads.file import read_head
from serving.heads.head import Head, HeadError
from serving.pipeline.embedder import Embedder
from serving.webhooks.analyses.errors import AnalysisError
from serving.webhooks.analyses.patches import Float32Array
from serving.webhooks.embedding import NotEmbedded
from serving.webhooks.techcyte import findings, qc, reports
from serving.webhooks.techcyte.faults import ScanError
from serving.webhooks.techcyte.reference import Reference, read_reference
from serving.webhooks.techcyte.shown import Shown
from serving.webhooks.techcyte.slide_patches import SlidePatches, overview_of, patches_with_tissue
from serving.webhooks.techcyte.trigger import AnalysisName, Scan


@dataclass(frozen=True, slots=True)
class Kit:
    """What analyses are made with: settings, and the files that they name, read once a process."""

    settings: TechcyteAnalysisSettings
    head: Head | None
    reference: Reference | None


def kit_of(settings: Settings) -> Kit:
    """Read what analyses are made with.

    Raises
    ------
    SettingsError
        When a file cannot be used, or something is not installed.
    """
    if find_spec("openslide") is None:
        raise SettingsError("Techcyte's slides are read by OpenSlide: install pathserve[slides].")
    chosen = settings.techcyte_analyses
    try:
        head = None if chosen.head is None else read_head(chosen.head)
    except HeadError as error:
        raise SettingsError(f"PATHSERVE_TECHCYTE_HEAD: {error}") from error
    return Kit(chosen, head, None if chosen.reference is None else read_reference(chosen.reference))


@contextmanager
def open_scan(path: Path, context: ReadContext) -> Iterator[LocalSlide]:
    """Open what ``fetch_scan`` has fetched; its size is that of ``slide.slide``.

    Raises
    ------
    ScanError
    """
    with _as_scan_error():
        slide = open_slide(path, context)
    with slide:
        yield slide


def analyse(
    name: AnalysisName,
    slide: LocalSlide,
    scan: Scan,
    kit: Kit,
    embedder: Embedder,
    progress: Callable[[str], None],
    waits: Cancellation,
) -> reports.ScanResult:
    """Make an analysis of a scan.

    Parameters
    ----------
    progress:
        Called with how far it is, in words.

    Returns
    -------
    Results of the scan, for ``reports.prepare`` with the size of ``slide.slide``.

    Raises
    ------
    ScanError
    Cancelled, TimeoutError
        When the waits end.
    """
    with _as_scan_error():
        if name is AnalysisName.QC:
            shown = qc.check(slide, kit.settings, progress, waits)
            return shown.result(scan.scan_id, kit.settings.provider, findings.in_short(shown))
        return _Embedding(name, slide, kit, embedder, progress, waits).run(scan.scan_id)


@contextmanager
def _as_scan_error() -> Iterator[None]:
    try:
        yield
    except ImageError as error:
        raise ScanError(error.description) from error
    except (AnalysisError, HeadError, NotEmbedded) as error:
        raise ScanError(str(error)) from error


@dataclass(frozen=True, slots=True)
class _Embedding:
    """An analysis over embeddings, on its way."""

    name: AnalysisName
    slide: LocalSlide
    kit: Kit
    embedder: Embedder
    progress: Callable[[str], None]
    waits: Cancellation

    def run(self, scan_id: str) -> reports.ScanResult:
        self._require_a_target()
        self.progress("looking for tissue")
        overview = overview_of(self.slide, self.waits)
        patches = patches_with_tissue(self.slide, overview, self.kit.settings.um_per_px)
        self._require_countable(patches)
        known = self.embedder.metadata.get("digest")
        if known is not None:  # of a service, only once it has embedded
            self._require_fitting(str(known), patches.um_per_px)
        made = patches.embed(self.embedder, lambda done, of: self.progress(f"{done} of {of} patches"))
        encoder: Mapping[str, object] = self.embedder.metadata
        self._require_fitting(str(encoder.get("digest", "")), patches.um_per_px)
        self.progress("drawing the results")
        shown = self._found(patches, made.vectors)
        summary = findings.summary(shown, patches, encoder, made, self._used_head, self._used_reference)
        return shown.result(scan_id, self.kit.settings.provider, summary)

    @property
    def _used_head(self) -> Head | None:
        return self.kit.head if self.name is AnalysisName.CLASSIFY else None

    @property
    def _used_reference(self) -> Reference | None:
        return self.kit.reference if self.name is AnalysisName.SIMILAR else None

    def _require_a_target(self) -> None:
        """Raise before anything is read where the operator has not said what to look for."""
        if self.name is AnalysisName.CLASSIFY and self.kit.head is None:
            raise AnalysisError(
                "classify has no head: the operator sets PATHSERVE_TECHCYTE_HEAD to a file that "
                "`pathserve head train` has made."
            )
        if self.name is AnalysisName.SIMILAR and self.kit.reference is None:
            raise AnalysisError(
                "similar has nothing to compare with: the operator sets PATHSERVE_TECHCYTE_REFERENCE to a "
                "file that `pathserve embed` has made of what is looked for."
            )

    def _require_countable(self, patches: SlidePatches) -> None:
        most = self.kit.settings.max_patches
        if not len(patches):
            raise AnalysisError("The scan shows no tissue, or is smaller than a patch.")
        if len(patches) > most:
            raise AnalysisError(
                f"The scan has {len(patches):,} patches with tissue at {patches.um_per_px:g} µm a pixel, and "
                f"at most {most:,} are analysed; the operator may raise PATHSERVE_TECHCYTE_MAX_PATCHES, or "
                "choose a coarser PATHSERVE_TECHCYTE_UM_PER_PX."
            )

    def _require_fitting(self, digest: str, um_per_px: float) -> None:
        if self._used_head is not None:
            self._used_head.require(digest, um_per_px)
        if self._used_reference is not None:
            self._used_reference.require(digest, um_per_px)

    def _found(self, patches: SlidePatches, vectors: Float32Array) -> Shown:
        lattice = patches.as_lattice()
        if self._used_head is not None:
            return findings.classes(lattice, vectors, self._used_head)
        if self._used_reference is not None:
            return findings.similar(lattice, vectors, self._used_reference, self.kit.settings.most_similar)
        return findings.clusters(lattice, vectors, self.kit.settings.clusters)
