"""A folder of downloads, whose entries are trusted only while they are as they were written.

An entry is a folder with a digest beside its files. It is made in a folder of its own, ``partial-…``, and
renamed into its place when it is whole. Whoever makes one holds a lock on it; without one it is a leftover.
A model is a program: whoever can write an entry can run anything here, so owner and mode are checked.

Locks are ``flock`` on folders: they end with the process that holds them, however it ends. Some network file
systems have none; then entries are still right, since renaming is atomic, but may be made twice.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from model.encoder import Mend, ModelError

_FILES, _DIGEST, _ENTRY = "files", "digest", "entry"
_PARTIAL = "partial-"
_NAME = re.compile(r"[\w-][\w.-]*")
_LOCK_PATIENCE_S = 30.0
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH

log = logging.getLogger(__name__)


def cache_folder(given: Path | None) -> Path:
    """Return the folder that keeps downloads: the one that is given, else the user's (XDG Base Directory).

    Raises
    ------
    ModelError
        When there is no such folder: the user of a container may have no home.
    """
    if given is not None:
        return given
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():
        try:
            base = Path.home() / ".cache"
        except RuntimeError as error:
            raise ModelError(
                "This user has no home folder to keep the model in; name a cache folder.", Mend.CACHE_FOLDER
            ) from error
    return base / "pathserve"


def folder_digest(folder: Path, but: str | None = None) -> str:
    """Return a hash over the names and contents of all files of the folder.

    Parameters
    ----------
    but:
        Name of a file in the folder that is left out.
    """
    total = hashlib.sha256()
    left_out = None if but is None else folder / but
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p != left_out):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(os.fsencode(path.relative_to(folder).as_posix()) + f"\n{content}\n".encode())
    return f"sha256:{total.hexdigest()}"


class Cache:
    """Entries of one kind in the cache; several processes may use it at once.

    Parameters
    ----------
    folder:
        Folder of the whole cache.
    kind:
        Name of the folder in it.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self._root = folder
        self.folder = folder / kind

    def find(self, name: str) -> Path | None:
        """Return the folder with an entry's files, where it is there and its digest is right.

        Nothing is written: a cache may be read-only.

        Raises
        ------
        ModelError
            When the entry may be another user's, or cannot be read.
        """
        entry = self.folder / name
        try:
            if not entry.is_dir():
                return None
            for path in (self._root, self.folder, entry, *sorted(entry.rglob("*"))):
                _require_ours(path, inside=path.is_relative_to(entry))
            digest = (entry / _DIGEST).read_text(encoding="ascii")
            if digest == folder_digest(entry / _FILES):
                return entry / _FILES
        except FileNotFoundError:
            pass  # a part of it is missing, or has just been replaced by another start
        except (OSError, ValueError) as error:
            raise ModelError(f"{entry} cannot be read: {_strerror(error)}.", Mend.CACHE_FOLDER) from error
        log.warning("damaged in the cache, so made anew", extra={"path": str(entry)})
        return None

    def find_or_make(self, name: str, make: Callable[[Path], None]) -> Path:
        """Return the folder with an entry's files, made now unless it is there; see ``find`` and ``put``.

        Raises
        ------
        ModelError
            Also when the cache cannot be written.
        """
        found = self.find(name)
        if found is not None:
            return found
        try:
            return self.put(name, make)
        except OSError as error:
            raise ModelError(
                f"{self.folder} cannot be written: {_strerror(error)}.", Mend.CACHE_FOLDER
            ) from error

    def put(self, name: str, make: Callable[[Path], None]) -> Path:
        """Make an entry, and return the folder with its files.

        Parameters
        ----------
        make:
            Writes the files into the folder that it is given.

        Raises
        ------
        ModelError
            When the cache may be another user's.
        OSError
            When the cache cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in (self._root, self.folder):
            _require_ours(path, inside=False)
        with self._partial() as partial:
            entry = partial / _ENTRY
            files = entry / _FILES
            files.mkdir(parents=True)
            make(files)
            for path in (entry, *entry.rglob("*")):
                path.chmod(path.stat().st_mode & ~_WRITABLE_BY_OTHERS)
            digest = folder_digest(files)
            (entry / _DIGEST).write_text(digest, encoding="ascii")
            with self._locked():
                if (found := self.find(name)) is not None:  # another start was faster
                    return found
                shutil.rmtree(self.folder / name, ignore_errors=True)
                entry.rename(self.folder / name)
        return self.folder / name / _FILES

    def remember(self, what: str, name: str) -> None:
        """Record which entry a source led to, for when the source cannot be reached."""
        if self._remembered(what) == name:
            return
        pointer = self._pointer(what)
        temporary = pointer.with_suffix(f".{secrets.token_hex(4)}")
        with contextlib.suppress(OSError):  # a read-only cache can be used all the same
            temporary.write_text(json.dumps({"entry": name}), encoding="ascii")
            temporary.replace(pointer)

    def recall(self, what: str) -> Path | None:
        """Return the files of the entry that was last remembered for something; see ``find``."""
        name = self._remembered(what)
        return None if name is None else self.find(name)

    def sweep(self) -> None:
        """Remove the unfinished entries of processes that were killed."""
        with contextlib.suppress(OSError, ModelError):
            if any(self.folder.glob(f"{_PARTIAL}*")):
                with self._locked():
                    self._sweep()

    def _pointer(self, what: str) -> Path:
        return self.folder / f"{hash_of(what)}.json"

    def _remembered(self, what: str) -> str | None:
        try:
            name = json.loads(self._pointer(what).read_text(encoding="ascii"))["entry"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return name if isinstance(name, str) and _NAME.fullmatch(name) else None

    def _sweep(self) -> None:
        for partial in self.folder.glob(f"{_PARTIAL}*"):
            if _is_left(partial):
                shutil.rmtree(partial, ignore_errors=True)

    @contextlib.contextmanager
    def _partial(self) -> Iterator[Path]:
        partial = self.folder / f"{_PARTIAL}{os.getpid()}-{secrets.token_hex(4)}"
        with contextlib.ExitStack() as stack:
            with self._locked():  # a sweeper sees it with its lock, or not at all
                self._sweep()
                partial.mkdir()
                stack.callback(shutil.rmtree, partial, ignore_errors=True)
                _try_lock(stack.enter_context(_opened(partial)), without_locks=True)
            yield partial

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the cache's own lock, for as long as a rename takes."""
        deadline = time.monotonic() + _LOCK_PATIENCE_S
        with _opened(self.folder) as lock:
            while not _try_lock(lock, without_locks=True):
                if time.monotonic() > deadline:
                    raise ModelError(f"{self.folder} is locked by another process for too long.")
                time.sleep(0.05)
            yield


def hash_of(text: str) -> str:
    """Return a short name for any text."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _require_ours(path: Path, *, inside: bool) -> None:
    """Raise unless only root, this process' user and its groups can have written a file or folder.

    Groups of this process are trusted, because volumes are shared with a container that way. Folders around
    the entries may be links, and writable by all where only an owner can remove files (as in /tmp).
    """
    status = path.lstat() if inside else path.stat()
    fault = ""
    if stat.S_ISLNK(status.st_mode):
        fault = "is a link"
    elif status.st_uid not in (0, os.geteuid()):
        fault = f"belongs to user {status.st_uid}"
    elif status.st_mode & stat.S_IWOTH and (inside or not status.st_mode & stat.S_ISVTX):
        fault = "can be written by everyone"
    elif status.st_mode & stat.S_IWGRP and status.st_gid not in (os.getegid(), *os.getgroups()):
        fault = f"can be written by group {status.st_gid}"
    if fault:
        raise ModelError(
            f"{path} {fault}, and a model is a program: give it to root or to user {os.geteuid()} alone "
            "(chown, chmod go-w), remove it, or use another cache folder.",
            Mend.CACHE_FOLDER,
        )


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """Open a folder, to lock it: that needs neither a lock file nor the right to write."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _try_lock(fd: int, *, without_locks: bool) -> bool:
    """Take a lock; where the file system has none, return ``without_locks``."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.EBADF, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        return without_locks
    return True


def _is_left(partial: Path) -> bool:
    """Return whether the process that was making this entry has ended."""
    try:
        with _opened(partial) as lock:
            return _try_lock(lock, without_locks=False)
    except OSError:
        return False


def _strerror(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__
