"""From a slide to what Techcyte shows of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dicom_io.local.slide import LocalSlide
from dicom_io.sources.session import ReadContext
from dicom_io.waiting import Cancellation
from serving.config.settings import Settings
from serving.pipeline.embedder import Embedder
from serving.webhooks.techcyte import reports
from serving.webhooks.techcyte.trigger import AnalysisName, Scan


@dataclass(frozen=True, slots=True)
class Kit:
    """What analyses are made with: settings, and the files that they name, read once a process."""


def kit_of(settings: Settings) -> Kit:
    """Read what analyses are made with.

    Raises
    ------
    SettingsError
        When a file cannot be used, or something is not installed.
    """
    raise NotImplementedError


@contextmanager
def open_scan(path: Path, context: ReadContext) -> Iterator[LocalSlide]:
    """Open what ``fetch_scan`` has fetched; its size is that of ``slide.slide``.

    Raises
    ------
    ScanError
    """
    raise NotImplementedError


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

    Raises
    ------
    ScanError
    Cancelled, TimeoutError
        When the waits end.
    """
    raise NotImplementedError
