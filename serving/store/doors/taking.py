"""A file on this machine is taken in: what the watched folder and ``pathserve store add`` do with each."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serving.store.doors.conversion import ConversionFailed, Converter, require_format
from serving.store.ingest.arrival import Refusal
from serving.store.ingest.ingest import Ingest
from serving.store.ingest.outcome import Origin, Outcome, Status

_CHUNK = 1 << 20
_DICM_AT = 128
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP)


class FileTaker:
    """Takes in DICOM files, and slides of vendors' formats where they can be converted.

    Parameters
    ----------
    converter:
        ``None`` where nothing converts slides.
    """

    def __init__(self, ingest: Ingest, converter: Converter | None, origin: Origin) -> None:
        self._ingest = ingest
        self._converter = converter
        self._origin = origin

    def take(self, name: str | Path, folder_fd: int | None = None) -> list[Outcome]:
        """Take a file in, and leave it as it is.

        Parameters
        ----------
        name:
            Of a regular file, in the folder that the descriptor stands for.

        Returns
        -------
        What became of it; of a vendor's slide, of each instance that it became.

        Raises
        ------
        OSError
            When it is gone, or cannot be read.
        """
        try:
            with self._own(name, folder_fd) as path:
                if _is_dicom(path):
                    return [self._ingest.add(path, self._origin)]
                return self._converted(path, Path(name).suffix)
        except Refusal as refusal:
            return [self._ingest.refused(refusal, self._origin)]

    @contextmanager
    def _own(self, name: str | Path, folder_fd: int | None) -> Iterator[Path]:
        """Give a file a name of ours, which nobody else can put something else at.

        By a hard link, so that nothing is copied; over file systems, by a copy.
        """
        path = self._ingest.folder / f"linked-{os.urandom(16).hex()}"
        try:
            os.link(name, path, src_dir_fd=folder_fd, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            with self._copied(name, folder_fd) as copy:
                yield copy
            return
        try:
            if not stat.S_ISREG(path.lstat().st_mode):
                raise Refusal(Status.CANNOT_UNDERSTAND, "It is not a regular file.")
            self._ingest.require_room(path.stat().st_size)
            yield path
        finally:
            path.unlink()

    @contextmanager
    def _copied(self, name: str | Path, folder_fd: int | None) -> Iterator[Path]:
        # Not blocking: a pipe that was put in the file's place would never give a byte.
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder_fd)
        with os.fdopen(fd, "rb", buffering=0) as source, self._ingest.arrival() as arrival:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise Refusal(Status.CANNOT_UNDERSTAND, "It is not a regular file.")
            while piece := source.read(_CHUNK):
                arrival.write(piece)
            arrival.close()
            yield arrival.path

    def _converted(self, path: Path, suffix: str) -> list[Outcome]:
        try:
            require_format(suffix)
            if self._converter is not None:
                with self._converter.converted(path, suffix, self._ingest.folder) as files:
                    return [self._ingest.add(file, self._origin) for file in files]
        except ConversionFailed as failure:
            raise Refusal(Status.CANNOT_UNDERSTAND, str(failure)) from None
        raise Refusal(
            Status.CANNOT_UNDERSTAND,
            "It is not a DICOM file, and nothing here converts slides: install wsidicomizer in an "
            "environment of its own and name its Python in PATHSERVE_STORE_CONVERTER, or convert it before.",
        )


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(_DICM_AT + 4)[_DICM_AT:] == b"DICM"
