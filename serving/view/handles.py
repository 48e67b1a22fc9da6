"""Handles: how the page names what it has opened, never by a path."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass

from dicom_io.web.series_path import SeriesPath, parse_series_path
from serving.errors import Code, ServiceError

_OF_FOLDER = re.compile(r"f-[0-9a-f]{32}")
_MOST_CHARACTERS = 2048


@dataclass(frozen=True, slots=True)
class FolderHandle:
    """A slide of the folder, by a digest of its name there: the same in every worker, and after a restart."""

    text: str


@dataclass(frozen=True, slots=True)
class SeriesHandle:
    """A series of a DICOMweb store, by its address."""

    path: SeriesPath

    @property
    def text(self) -> str:
        """The handle as it is written."""
        return "s-" + base64.urlsafe_b64encode(str(self.path.url).encode()).decode("ascii").rstrip("=")


Handle = FolderHandle | SeriesHandle


def handle_of_name(name: str) -> FolderHandle:
    """Return the handle of a slide by its name in the folder."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
    return FolderHandle(f"f-{digest[:32]}")


def parse_handle(text: str) -> Handle:
    """Parse a handle.

    Raises
    ------
    ServiceError
        NOT_FOUND_ERROR when it is none of ours.
    """
    if _OF_FOLDER.fullmatch(text):
        return FolderHandle(text)
    if text.startswith("s-") and len(text) <= _MOST_CHARACTERS:
        try:
            padded = text[2:] + "=" * (-len(text[2:]) % 4)
            return SeriesHandle(parse_series_path(base64.b64decode(padded, b"-_", validate=True).decode()))
        except ValueError:
            pass
    raise unknown()


def series_handle(address: str) -> SeriesHandle:
    """Return the handle of a series by the address that a person gives.

    Raises
    ------
    ServiceError
        DICOM_PATH_ERROR when it is none.
    """
    try:
        return SeriesHandle(parse_series_path(address.strip()))
    except ValueError as error:
        raise ServiceError(Code.DICOM_PATH_ERROR, f"The address of the series {error}.") from error


def unknown() -> ServiceError:
    """Return what is said of a slide that is not there."""
    return ServiceError(
        Code.NOT_FOUND_ERROR, "There is no such slide here any more; open it again from the list."
    )
