"""Where slides are kept while a task is at work: a folder a task, of which nothing is left at the end.

A folder is locked by the process that uses it, and the system lets go of the lock however that process ends:
what is not locked was left by one that was killed.
"""

from __future__ import annotations

import errno
import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from serving.config.settings import Settings, SettingsError
from serving.webhooks.techcyte.faults import ScanError

_PREFIX = "pathserve-task-"  # nobody else's, whatever folder is named
_LOCK = "lock"


@dataclass(slots=True)
class TaskFolder:
    """The folder of one task, and how much it may hold; for one thread.

    Attributes
    ----------
    most_bytes:
        Of all its files.
    keep_free:
        Bytes of its disk that are left free.
    """

    path: Path
    most_bytes: int
    keep_free: int
    held: int = 0

    def folder(self, name: str) -> Path:
        """Make a new folder in it."""
        path = self.path / name
        path.mkdir()
        return path

    def take(self, count: int) -> None:
        """Ask for room, before so many bytes are written.

        Raises
        ------
        ScanError
            When the task's share, or the disk, has no more.
        """
        self.held += count
        if self.held > self.most_bytes:
            raise ScanError(
                f"The files of the task have more than {self.most_bytes:,} bytes, the most that are kept; "
                "the operator may raise PATHSERVE_TECHCYTE_MAX_TASK_BYTES."
            )
        self.require_free(count)

    def require_free(self, count: int) -> None:
        """Raise ScanError where the disk has no room for so many bytes: others write to it, too."""
        if shutil.disk_usage(self.path).free - count < self.keep_free:
            raise full()

    def give_back(self, count: int) -> None:
        """Say that so many bytes have been removed."""
        self.held -= count


def full() -> ScanError:
    """Return what is said where the disk has no room."""
    return ScanError(
        "There is no room on this machine's disk for the scan; start the analysis again later, or ask the "
        "operator (PATHSERVE_TECHCYTE_FOLDER)."
    )


class Scratch:
    """Folders of tasks, in one folder on a local disk; several processes may share it.

    Raises
    ------
    SettingsError
        When it cannot be made or used.
    """

    def __init__(self, settings: Settings) -> None:
        limits = settings.techcyte_downloads
        self._root = limits.folder or Path.home() / ".cache/pathserve/techcyte"
        self._most_bytes, self._keep_free = limits.max_task_bytes, limits.keep_free_bytes
        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._alone():
                pass
        except OSError as error:
            raise SettingsError(
                f"PATHSERVE_TECHCYTE_FOLDER: {self._root} cannot be used: {error.strerror or error}; name a "
                "folder on a local disk that the service's user may write to."
            ) from error

    def clear(self) -> int:
        """Remove what killed processes have left, and return how many folders it were.

        Raises
        ------
        OSError
        """
        with self._alone():
            left = [path for path in self._root.glob(f"{_PREFIX}*") if not _is_used(path)]
            for path in left:
                shutil.rmtree(path)
        return len(left)

    @contextmanager
    def task(self) -> Iterator[TaskFolder]:
        """Yield a new folder, which is removed at the end.

        Raises
        ------
        ScanError
            When it cannot be made.
        """
        try:
            with self._alone():  # else another process could take the new folder for one that was left
                path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._root))
                lock = _locked(path / _LOCK)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise full() from error
            raise ScanError(
                "The folder for slides cannot be used on this machine; ask the operator."
            ) from error
        try:
            yield TaskFolder(path, self._most_bytes, self._keep_free)
        finally:
            shutil.rmtree(path, ignore_errors=True)
            lock.close()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with (self._root / _LOCK).open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _locked(path: Path) -> BinaryIO:
    """Lock a file until what is returned is closed; raise BlockingIOError where another has it."""
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise
    return file


def _is_used(folder: Path) -> bool:
    try:
        _locked(folder / _LOCK).close()
    except BlockingIOError:
        return True
    except (FileNotFoundError, NotADirectoryError):
        pass
    return False
