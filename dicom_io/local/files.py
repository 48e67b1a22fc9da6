"""Files of slides on disk: what tells them apart without reading them whole."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from dicom_io.errors import ImageCode, ImageError

_END_BYTES = 65_536


def stamp_of(path: Path) -> str:
    """Return what changes when a file does, as far as the system tells: its size, time and inode.

    Raises
    ------
    OSError
    """
    found = path.stat()
    return f"{found.st_size}-{found.st_mtime_ns}-{found.st_ino}"


class PositionedFile:
    """A file that many threads read at any place of it, closed once the last of them has done.

    A descriptor that is closed under a reader is given to the next file that is opened, and the reader would
    take that one's bytes for its own.

    Raises
    ------
    OSError
        When it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._lock = threading.Lock()
        self._readers = 0
        self._closed = False
        self.size = os.fstat(self._fd).st_size

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes from an offset on: fewer at the end of the file.

        Raises
        ------
        ImageError
            DICOM_ERROR when the system cannot read them, or the file has been closed.
        """
        with self._lock:
            if self._closed:
                raise ImageError(ImageCode.DICOM_ERROR, "The slide's file has been closed.")
            self._readers += 1
        try:
            return os.pread(self._fd, size, offset)
        except OSError as error:
            raise ImageError(
                ImageCode.DICOM_ERROR, f"The slide's file cannot be read: {error.strerror}."
            ) from error
        finally:
            with self._lock:
                self._readers -= 1
                self._close_unused()

    def ends(self) -> bytes:
        """Return the size of the file, and its first and last 64 KiB, to be hashed."""
        last = max(0, self.size - _END_BYTES)
        return b"%d:" % self.size + self.read(0, _END_BYTES) + self.read(last, _END_BYTES)

    def close(self) -> None:
        """Let go of the file; readers that are at it finish."""
        with self._lock:
            self._closed = True
            self._close_unused()

    def _close_unused(self) -> None:
        if self._closed and not self._readers and self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
