"""The store's folder: files of instances by their UIDs, and a room beside them for what is not whole yet.

::

    DIR/instances/STUDY/SERIES/SOP.HASH.dcm    whole, never changed; HASH begins the file's SHA-256
    DIR/incoming/                              what is being received or de-identified

A file comes to its place by a rename within one file system, after its bytes are on the disk: whoever finds
it there finds all of it, whatever crashed. The hash in its name keeps apart two files that claim one UID.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from serving.store.uids import InstanceUids

_HASH = 32
_TRIES = 100
_INSTANCES, _INCOMING = "instances", "incoming"


class DiskFull(Exception):
    """Less space is free than has to be kept free."""


def place_of(uids: InstanceUids, sha256: str) -> str:
    """Return the path of an instance's file in the store's folder."""
    return f"{_INSTANCES}/{uids.study}/{uids.series}/{uids.sop}.{sha256[:_HASH]}.dcm"


@dataclass(frozen=True, slots=True)
class StoreFiles:
    """The files of a store.

    Attributes
    ----------
    folder:
        Of the store, on one file system.
    min_free_bytes:
        What has to stay free on that.
    """

    folder: Path
    min_free_bytes: int = 0

    def prepare(self) -> None:
        """Make the folders, for the store's user alone.

        Raises
        ------
        OSError
        """
        for name in (_INSTANCES, _INCOMING):
            (self.folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)

    @property
    def incoming(self) -> Path:
        """The folder of what is not whole yet: emptied when the store starts."""
        return self.folder / _INCOMING

    def require_space(self, size: int = 0) -> None:
        """Refuse what there is no room for.

        Parameters
        ----------
        size:
            Bytes that are about to be written, as far as known.

        Raises
        ------
        DiskFull
        """
        if shutil.disk_usage(self.folder).free - size < self.min_free_bytes:
            raise DiskFull("the disk of the slide store is full")

    @contextlib.contextmanager
    def temporary(self) -> Iterator[Path]:
        """Make a new, empty file whose name tells nothing; it is removed at the end unless it was kept."""
        path = self.incoming / f"{secrets.token_hex(16)}.part"
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def keep(self, temporary: Path, place: str) -> Path:
        """Move a whole file to its place (``place_of``), surely on the disk; return where it is now.

        The same bytes may be there already: then they are replaced by themselves.

        Raises
        ------
        OSError
        """
        target = self.folder / place
        _sync(temporary)
        for tries in range(_TRIES):
            try:
                target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                temporary.replace(target)
                break
            except (FileNotFoundError, FileExistsError):
                # Who removes the series' last file meanwhile removes its folders, too.
                if tries == _TRIES - 1:
                    raise
        # The names too: of the file, and of the folders that may have been made for it.
        for folder in (target.parent, target.parent.parent, target.parent.parent.parent):
            with contextlib.suppress(FileNotFoundError):  # it has been removed already
                _sync(folder)
        return target

    def require(self, place: str) -> None:
        """Be sure that an instance's file is there.

        Raises
        ------
        FileNotFoundError
        """
        if not (self.folder / place).is_file():
            raise FileNotFoundError("an instance was deleted while it came in; it may be sent again")

    def remove(self, place: str) -> None:
        """Remove an instance's file, and the folders that are empty then."""
        path = self.folder / place
        path.unlink(missing_ok=True)
        for folder in (path.parent, path.parent.parent):
            with contextlib.suppress(OSError):  # not empty, or another's removal came first
                folder.rmdir()

    def places(self) -> Iterator[str]:
        """Yield the place of every instance's file that there is, the index's view aside."""
        root = self.folder / _INSTANCES
        for path in root.glob("*/*/*.dcm"):
            yield path.relative_to(self.folder).as_posix()


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
