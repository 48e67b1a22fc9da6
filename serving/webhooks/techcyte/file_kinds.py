"""What a file of a scan is, by its first bytes: names and types that servers give are not relied on."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from dicom_io.codecs.dicom_file import is_dicom_file
from dicom_io.local.sniffing import HEAD_BYTES, what_else
from serving.webhooks.techcyte.faults import ScanError

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ZIP = b"PK\x03\x04"


class FileKind(StrEnum):
    """What slides come as. SVS, NDPI and others are TIFF."""

    TIFF = "tif"
    DICOM = "dcm"
    ZIP = "zip"


def kind_of_head(head: bytes) -> FileKind | None:
    """Return the kind by at least the first 132 bytes; ``None`` for any other."""
    if is_dicom_file(head):
        return FileKind.DICOM
    if head.startswith(_TIFF):
        return FileKind.TIFF
    return FileKind.ZIP if head.startswith(_ZIP) else None


def kind_of(path: Path) -> FileKind:
    """Return the kind of a file.

    Raises
    ------
    ScanError
        Says what it is instead.
    OSError
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    kind = kind_of_head(head)
    if kind is None:
        raise ScanError(
            f"The scan is not a slide (SVS, NDPI or another tiled TIFF, DICOM, or one of them in a ZIP): the "
            f"file is {what_else(path, head)}."
        )
    return kind
