"""One task on its way: all its scans, step by step, and all that is wrong with any of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TypeVar

import orjson

from dicom_io.local.slide import LocalSlide
from serving.webhooks.jobs.handler import JobContext, JobFailed
from serving.webhooks.techcyte import reports
from serving.webhooks.techcyte.analysis import Kit, analyse
from serving.webhooks.techcyte.client import RUN_FIELD
from serving.webhooks.techcyte.download import Limits, fetch_scan
from serving.webhooks.techcyte.faults import ScanError
from serving.webhooks.techcyte.scratch import TaskFolder
from serving.webhooks.techcyte.trigger import Scan, Trigger

T = TypeVar("T")

OpenScan = Callable[[Path], AbstractContextManager[LocalSlide]]


class Task:
    """Scans become results, or a list of faults: with one fault anywhere nothing is sent.

    All files are fetched before the first is analysed, since their addresses expire.
    """

    def __init__(
        self, trigger: Trigger, context: JobContext, folder: TaskFolder, open_scan: OpenScan
    ) -> None:
        self._trigger = trigger
        self._context = context
        self._folder = folder
        self._open_scan = open_scan
        self._paths: dict[str, Path] = {}
        self.sizes: dict[str, reports.SlideSize | None] = {}
        """The slides' sizes by scan, once they were opened."""

    def fetch(self, limits: Limits) -> None:
        """Fetch all scans, and see whether they are slides.

        Raises
        ------
        JobFailed
            With all that is wrong with any scan.
        """

        def fetch(scan: Scan, progress: Callable[[str], None]) -> None:
            progress("fetching")
            path = fetch_scan(scan, self._folder, limits, self._context.waits)
            with self._open_scan(path) as slide:
                self.sizes[scan.scan_id] = reports.SlideSize(slide.slide.width, slide.slide.height)
            self._paths[scan.scan_id] = path

        self._each(fetch)

    def results(self, kit: Kit) -> reports.Results:
        """Analyse all scans.

        Raises
        ------
        JobFailed
            With all that is wrong with any scan.
        """

        def analysed(scan: Scan, progress: Callable[[str], None]) -> reports.ScanResult:
            name, context = self._trigger.analysis, self._context
            with self._open_scan(self._paths[scan.scan_id]) as slide:
                result = analyse(name, slide, scan, kit, context.embedder, progress, context.waits)
            return result.model_copy(
                update={"results": {**(result.results or {}), RUN_FIELD: self._trigger.run_marker}}
            )

        return reports.Results(scan_results=self._each(analysed))

    def _each(self, do: Callable[[Scan, Callable[[str], None]], T]) -> list[T]:
        found: list[T] = []
        faults: list[str] = []
        for number, scan in enumerate(self._trigger.scans, 1):
            try:
                found.append(do(scan, partial(self._tell, number)))
            except ScanError as error:
                faults.append(f"Scan {scan.scan_id}: {error}")
        if faults:
            raise failed(faults)
        return found

    def _tell(self, number: int, text: str) -> None:
        self._context.progress(f"scan {number} of {len(self._trigger.scans)}: {text}")


def failed(faults: list[str]) -> JobFailed:
    """Return how a job ends of which nothing was sent; its output has all faults."""
    return JobFailed(" ".join(["Nothing was sent.", *faults]), orjson.dumps({"faults": faults}))
