"""DICOM files wherever they lie: in a folder, or in a ZIP, of which nothing is unpacked by its name."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from dicom_io.codecs.dicom_file import PREAMBLE_BYTES, is_dicom_file
from dicom_io.codecs.encoded_image import DamagedImage
from dicom_io.local.dicom_header import require_bounded
from dicom_io.local.files import PositionedFile, Section
from dicom_io.local.zip_archive import MAX_FILES, members_of, opened_zip

_CHUNK = 1 << 20
_LOCAL_HEADER = 30


def dicom_files_in(folder: Path) -> Iterator[Section]:
    """Yield the DICOM files in a folder and those below it, opened, in the order of their names.

    Raises
    ------
    DamagedImage
        When there are too many files.
    OSError
    """
    seen = 0
    for above, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            seen += 1
            if seen > MAX_FILES:
                raise DamagedImage(f"it holds more than {MAX_FILES:,} files")
            path = Path(above, name)
            if path.is_file():  # no pipe, which would wait for a writer
                yield from _if_dicom(PositionedFile.open(path))


def dicom_files_of_zip(path: Path) -> Iterator[Section]:
    """Yield the DICOM files in a ZIP.

    What it holds uncompressed is read where it is; the rest is unpacked to files without a name, within the
    bounds of ``require_bounded``.

    Raises
    ------
    DamagedImage
        When it is no sound ZIP, is encrypted, or unfolds to too much.
    OSError
        When there is no room to unpack it, for one.
    """
    whole, is_used = PositionedFile.open(path), False
    try:
        with opened_zip(path) as archive:
            unpacked = 0
            for info in members_of(archive):
                if info.compress_type == zipfile.ZIP_STORED:
                    section = _stored(whole, info)
                    if is_dicom_file(section.read(0, PREAMBLE_BYTES)):
                        is_used = True
                        yield section
                    continue
                with archive.open(info) as packed:
                    if is_dicom_file(head := packed.read(PREAMBLE_BYTES)):
                        section = _unpacked(packed, head, unpacked, whole.size)
                        unpacked += section.size
                        yield section
    finally:
        if not is_used:  # else it is closed by whoever was given a part of it
            whole.close()


def _if_dicom(file: PositionedFile) -> Iterator[Section]:
    section = file.whole()
    if is_dicom_file(section.read(0, PREAMBLE_BYTES)):
        yield section
    else:
        file.close()


def _stored(whole: PositionedFile, info: zipfile.ZipInfo) -> Section:
    """Return what a ZIP holds uncompressed, behind its local header (APPNOTE.TXT, 4.3.7)."""
    if not 0 <= info.header_offset < whole.size:
        raise DamagedImage("it is a damaged ZIP")
    header = whole.read(info.header_offset, _LOCAL_HEADER)
    if header[:4] != b"PK\x03\x04" or len(header) < _LOCAL_HEADER:
        raise DamagedImage("it is a damaged ZIP")
    name, extra = int.from_bytes(header[26:28], "little"), int.from_bytes(header[28:30], "little")
    start = info.header_offset + _LOCAL_HEADER + name + extra
    if start + info.file_size > whole.size:
        raise DamagedImage("it is a damaged ZIP, or cut off")
    return Section(whole, start, info.file_size)


def _unpacked(packed: IO[bytes], head: bytes, before: int, size: int) -> Section:
    with tempfile.TemporaryFile() as out:
        out.write(head)
        while data := packed.read(_CHUNK):
            out.write(data)
            require_bounded(before + out.tell(), size)
        out.flush()
        return PositionedFile(os.dup(out.fileno())).whole()
