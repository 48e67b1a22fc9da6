"""Fetching a scan's files from the links of a trigger."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dicom_io.waiting import Cancellation
from serving.webhooks.techcyte.scratch import TaskFolder
from serving.webhooks.techcyte.trigger import Scan


@dataclass(frozen=True, slots=True)
class Limits:
    """What a download may take, and where it may lead; ``limits_of`` makes it of the settings."""


def fetch_scan(scan: Scan, folder: TaskFolder, limits: Limits, waits: Cancellation) -> Path:
    """Fetch a scan's files, check and unpack them, and return what ``open_scan`` opens.

    Raises
    ------
    ScanError
        When they cannot be had, or are not what a slide is made of.
    Cancelled, TimeoutError
        When the waits end.
    """
    raise NotImplementedError
