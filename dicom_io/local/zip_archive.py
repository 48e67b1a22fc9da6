"""ZIP archives that strangers have packed: opened within bounds, and whatever is wrong with them said alike.

zipfile believes an archive: it reads a list of files as long as that says it is, and raises whatever comes of
bytes that make no sense. Where members go, and how much they unfold to, is a matter of who unpacks them.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dicom_io.codecs.encoded_image import DamagedImage

MAX_FILES = 10_000
"""Files of an archive, or a folder, that are looked at."""

MAX_DIRECTORY_BYTES = 4 << 20
"""Of an archive's list of its files, which zipfile holds in memory."""

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""By another one (LZMA), an archive could say how much memory it takes to unpack it."""

_DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, RuntimeError, LookupError,
    ArithmeticError,
)  # fmt: skip
"""What zipfile raises of hostile archives, beside OSError for what the system says."""

_ENCRYPTED = 0x1


@contextmanager
def opened_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive; what goes wrong with it while it is open is said as well.

    Raises
    ------
    DamagedImage
        When it is no sound ZIP.
    OSError
        Of the system; also from what is done with it.
    """
    try:
        with _ShortReads(io.FileIO(path)) as file, zipfile.ZipFile(file) as archive:
            yield archive
    except DamagedImage:
        raise
    except _DAMAGE as error:
        raise DamagedImage("it is a damaged ZIP, or packed in an unusual way") from error


def members_of(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Return an archive's files, all of which can be unpacked.

    Raises
    ------
    DamagedImage
        When there are too many, or one is encrypted, or packed by another method than deflate.
    """
    members = [info for info in archive.infolist() if not info.is_dir()]
    if len(members) > MAX_FILES:
        raise DamagedImage(f"it holds more than {MAX_FILES:,} files")
    if any(info.flag_bits & _ENCRYPTED for info in members):
        raise DamagedImage("it is encrypted; pack the slide without a password")
    if any(info.compress_type not in _METHODS for info in members):
        raise DamagedImage("it is packed in an unusual way; use deflate, or none")
    return members


class _ShortReads(io.BufferedReader):
    """Refuses reads that a sound archive has no reason for."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_DIRECTORY_BYTES:
            raise DamagedImage("its list of files is too long")
        return super().read(size)

    def seek(self, target: int, whence: int = io.SEEK_SET, /) -> int:
        try:
            return super().seek(target, whence)
        except OSError as error:  # before the file's beginning; zipfile takes what an archive says
            raise DamagedImage("it is a damaged ZIP") from error
