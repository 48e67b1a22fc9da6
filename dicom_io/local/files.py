"""Files of slides on disk: what tells them apart without reading them whole."""

from __future__ import annotations

import io
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from dicom_io.errors import ImageCode, ImageError

if TYPE_CHECKING:
    from typing_extensions import Buffer

_END_BYTES = 65_536
_BUFFER_BYTES = 65_536


def stamp_of(path: Path) -> str:
    """Return what changes when a file does, as far as the system tells: its size, time and inode.

    Raises
    ------
    OSError
    """
    found = path.stat()
    return f"{found.st_size}-{found.st_mtime_ns}-{found.st_ino}"


def unreadable(error: OSError) -> ImageError:
    """Return what a file that the system cannot read any more raises, as when its network folder is gone."""
    return ImageError(
        ImageCode.INTERNAL_ERROR, f"The slide's file cannot be read: {error.strerror or error}."
    )


class PositionedFile:
    """A file that many threads read at any place of it, closed once the last of them has done.

    A descriptor that is closed under a reader is given to the next file that is opened, and the reader would
    take that one's bytes for its own.

    Parameters
    ----------
    fd:
        A descriptor, which is closed with this.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()
        self._readers = 0
        self._closed = False
        self.size = os.fstat(fd).st_size

    @staticmethod
    def open(path: Path) -> PositionedFile:
        """Open a file.

        Raises
        ------
        OSError
        """
        return PositionedFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC))

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes from an offset on: fewer at the end of the file.

        Raises
        ------
        ImageError
            INTERNAL_ERROR when the system cannot read them, or the file has become shorter: it is not the
            image that is at fault. IMAGE_ERROR when the file has been closed.
        """
        with self._lock:
            if self._closed:
                raise ImageError(ImageCode.IMAGE_ERROR, "The slide's file has been closed.")
            self._readers += 1
        try:
            data = os.pread(self._fd, size, offset)
            is_shorter = len(data) < size and os.fstat(self._fd).st_size < self.size
        except OSError as error:
            raise unreadable(error) from error
        finally:
            with self._lock:
                self._readers -= 1
                self._close_unused()
        if is_shorter:
            raise ImageError(
                ImageCode.INTERNAL_ERROR, "The slide's file has become shorter while it was read."
            )
        return data

    def close(self) -> None:
        """Let go of the file; readers that are at it finish."""
        with self._lock:
            self._closed = True
            self._close_unused()

    def whole(self) -> Section:
        """Return all of the file."""
        return Section(self, 0, self.size)

    def _close_unused(self) -> None:
        if self._closed and not self._readers and self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a file that is a file of its own: all of it, or what an archive holds uncompressed.

    Attributes
    ----------
    start, size:
        Bytes.
    """

    file: PositionedFile
    start: int
    size: int

    @property
    def is_whole(self) -> bool:
        """Whether it is all of its file."""
        return (self.start, self.size) == (0, self.file.size)

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes from an offset in this part on; see ``PositionedFile.read``."""
        if (
            not 0 <= offset < self.size
        ):  # offsets in files may be any numbers, beyond what systems can seek to
            return b""
        return self.file.read(self.start + offset, min(size, self.size - offset))

    def ends(self) -> bytes:
        """Return the size, and the first and last 64 KiB, to be hashed."""
        last = max(0, self.size - _END_BYTES)
        return b"%d:" % self.size + self.read(0, _END_BYTES) + self.read(last, _END_BYTES)

    def stream(self, reads_at_most: int) -> BinaryIO:
        """Return a buffered stream that raises ValueError after so many reads: hostile files make many."""
        return _CountedReads(_Stream(self), reads_at_most)


class _Stream(io.RawIOBase):
    def __init__(self, section: Section) -> None:
        self._section = section
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._section.size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self._section.read(self._at, len(view))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


class _CountedReads(io.BufferedReader):
    def __init__(self, raw: io.RawIOBase, at_most: int) -> None:
        super().__init__(raw, _BUFFER_BYTES)
        self._left = at_most

    def read(self, size: int | None = -1, /) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise ValueError("the file has too many elements")
        return super().read(size)
