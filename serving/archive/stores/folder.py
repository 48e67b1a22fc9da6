"""An output in a folder, which all workers see: of this machine, or a shared file system."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

from serving.output.files import named

_SCRATCH = "tmp"
_ATTEMPTS = 100
_ABANDONED_S = 86_400.0
"""Unfinished files of other machines are removed when they are older than this."""


T = TypeVar("T")


class FolderStore:
    """See ``OutputStore``.

    An object is written beside its place and then linked to its name, which fails where the name is taken:
    the one operation that a file system does whole or not at all, NFS included.

    Parameters
    ----------
    address:
        The folder; made when something is first written.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._root = Path(address)

    def read(self, name: str) -> bytes | None:
        """Return an object."""
        return self.head(name, -1)

    def head(self, name: str, size: int) -> bytes | None:
        """Return an object's first bytes."""
        path = self._root / name
        with named(path), contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            return file.read(size)
        return None

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Yield an object as a file."""
        path = self._root / name
        with named(path), path.open("rb") as file:
            yield file

    def exists(self, name: str) -> bool:
        """Return whether there is such an object."""
        path = self._root / name
        with named(path):
            return path.exists()

    def names(self, folder: str) -> Iterator[str]:
        """Yield the names of all objects below a folder."""
        root = self._root / folder
        with named(root):
            for place, _, files in os.walk(root, onerror=_unless_missing):
                base = Path(place).relative_to(self._root).as_posix()
                # No object is hidden: NFS gives such names to what is removed while another has it open.
                yield from (f"{base}/{file}" for file in files if not file.startswith("."))

    def add(self, name: str, data: bytes) -> bool:
        """Write an object unless there is one."""
        with self.scratch() as folder:
            path = folder / "object"
            with named(path):
                _write(path, data)
            return self.add_file(name, path)

    def add_file(self, name: str, path: Path) -> bool:
        """Write an object from a file in ``scratch`` unless there is one."""
        place = self._root / name
        with named(place):
            try:
                _in_folder(place.parent, lambda: os.link(path, place))
            except FileExistsError:
                return False
            return True

    def put(self, name: str, data: bytes) -> None:
        """Write an object in place of what there is."""
        with self.scratch() as folder:
            path = folder / "object"
            with named(path):
                _write(path, data)
            self.put_file(name, path)

    def put_file(self, name: str, path: Path) -> None:
        """Write an object from a file in ``scratch`` in place of what there is."""
        place = self._root / name
        with named(place):
            _in_folder(place.parent, lambda: path.replace(place))

    def remove(self, name: str) -> None:
        """Remove an object, and its folder where it was the last in it."""
        place = self._root / name
        with named(place):
            place.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            if place.parent != self._root:
                place.parent.rmdir()

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Yield a folder in the output's own file system: links do not lead from one to another."""
        root = self._root / _SCRATCH
        prefix = f"{_here()}.{os.getpid()}."
        with named(root):
            folder = Path(_in_folder(root, lambda: tempfile.mkdtemp(prefix=prefix, dir=root)))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what ended processes of this machine have left, and what is older than a day."""
        root = self._root / _SCRATCH
        with named(root):
            for folder in list(root.iterdir()) if root.is_dir() else []:
                if _is_abandoned(folder):
                    shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            root.rmdir()


def _in_folder(folder: Path, change: Callable[[], T]) -> T:
    """Make a change in a folder, which whoever removes the last object in it removes, too: even now."""
    for _ in range(_ATTEMPTS):
        with contextlib.suppress(FileExistsError):  # if it is no folder, the change says so
            folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            return change()
    return change()


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())  # what is linked must not be found empty after the machine has lost its power


def _unless_missing(error: OSError) -> None:
    if error.errno not in (
        errno.ENOENT,
        errno.ESTALE,
    ):  # removed by another worker; on NFS, by another machine
        raise error


def _here() -> str:
    """Return what process numbers are unique in: containers may share a host's name, and not its numbers."""
    with contextlib.suppress(OSError):
        return f"{socket.gethostname()}-{Path('/proc/self/ns/pid').stat().st_ino}"
    return socket.gethostname()


def _is_abandoned(folder: Path) -> bool:
    host, _, rest = folder.name.rpartition(".")[0].rpartition(".")
    if host == _here() and rest.isdigit():
        return not Path(f"/proc/{rest}").exists()
    with contextlib.suppress(OSError):
        return time.time() - folder.stat().st_mtime > _ABANDONED_S
    return False
