"""Unpacking a scan that comes as a ZIP, within bounds.

Nothing is named as the archive says: files are numbered, so that no name can lead anywhere. What is not a
slide's file (a text, a thumbnail) is left in the archive.
"""

from __future__ import annotations

import re
import stat
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from dicom_io.codecs.encoded_image import DamagedImage
from dicom_io.local.dicom_header import require_bounded
from dicom_io.local.sniffing import HEAD_BYTES
from dicom_io.local.zip_archive import members_of, opened_zip
from dicom_io.waiting import Cancellation
from serving.webhooks.techcyte.faults import ScanError
from serving.webhooks.techcyte.file_kinds import FileKind, kind_of_head
from serving.webhooks.techcyte.scratch import TaskFolder

_DRIVE = re.compile(r"[A-Za-z]:")
_CHUNK = 1 << 20


def unpacked(archive: Path, folder: TaskFolder, file_bytes: int, waits: Cancellation) -> Path:
    """Unpack a slide's files beside their archive, remove that, and return what ``open_scan`` opens.

    Parameters
    ----------
    folder:
        Counts what is written.
    file_bytes:
        Most bytes of each file.

    Raises
    ------
    ScanError
        When the archive is not one slide, or is not sound and harmless.
    Cancelled, TimeoutError, OSError
    """
    size = archive.stat().st_size
    own = archive.with_name("unpacked")
    own.mkdir()
    try:
        with opened_zip(archive) as opened:
            found = _Unpacking(own, folder, file_bytes, size, waits).run(opened)
    except DamagedImage as error:
        raise ScanError(f"The scan's ZIP cannot be used: {error}.") from error
    archive.unlink()
    folder.give_back(size)
    return _slide(found, own)


@dataclass(slots=True)
class _Unpacking:
    """An archive on its way to the disk."""

    to: Path
    folder: TaskFolder
    file_bytes: int
    packed: int
    waits: Cancellation
    written: int = 0

    def run(self, archive: zipfile.ZipFile) -> list[tuple[Path, FileKind]]:
        """Unpack the slide's files; raise DamagedImage for an archive that is harmful."""
        members = members_of(archive)
        for info in members:  # all of them, before anything is written
            self._require_harmless(info)
        found: list[tuple[Path, FileKind]] = []
        for number, info in enumerate(members, 1):
            with archive.open(info) as member:
                head = member.read(HEAD_BYTES)
                kind = kind_of_head(head)
                if kind is FileKind.ZIP:
                    raise DamagedImage("it holds another ZIP; send the slide in one")
                if kind is not None:
                    path = self.to / f"{number:05d}.{kind}"
                    self._copy(head, member, path)
                    found.append((path, kind))
        return found

    def _require_harmless(self, info: zipfile.ZipInfo) -> None:
        kind = stat.S_IFMT(info.external_attr >> 16)  # nothing where it was not made on a Unix
        if kind not in (0, stat.S_IFREG):
            raise DamagedImage("it holds a link, or something else that is not a file")
        parts = info.filename.replace("\\", "/").split("/")
        if not parts[0] or ".." in parts or _DRIVE.match(parts[0]):
            raise DamagedImage("it holds a file whose name leads out of it")
        if info.file_size > self.file_bytes:
            raise self._too_large()

    def _copy(self, head: bytes, member: IO[bytes], path: Path) -> None:
        size, piece = 0, head
        with path.open("xb") as out:
            while piece:
                self.waits.require_time()
                size += len(piece)
                self.written += len(piece)
                if size > self.file_bytes:  # whatever the archive says
                    raise self._too_large()
                require_bounded(self.written, self.packed)
                self.folder.take(len(piece))
                out.write(piece)
                piece = member.read(_CHUNK)

    def _too_large(self) -> DamagedImage:
        return DamagedImage(
            f"it holds a file of more than {self.file_bytes:,} bytes (PATHSERVE_TECHCYTE_MAX_FILE_BYTES)"
        )


def _slide(found: Sequence[tuple[Path, FileKind]], folder: Path) -> Path:
    tiffs = [path for path, kind in found if kind is FileKind.TIFF]
    if not found:
        raise ScanError("The scan's ZIP holds no slide: neither a TIFF (SVS, NDPI) nor a DICOM file.")
    if tiffs and len(found) > 1:
        raise ScanError("The scan's ZIP holds several slides; a scan is one.")
    return tiffs[0] if tiffs else folder
