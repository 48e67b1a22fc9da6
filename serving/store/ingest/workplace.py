"""A process's own folder for what is on its way, and what a process that was killed has left in its own.

::

    DIR/incoming/NAME.lock    locked as long as the process lives
    DIR/incoming/NAME/        its temporary files
    DIR/incoming/NAME/*.due   instances that were being put in their place: where that is

The kernel gives a lock back whatever ends a process, so a folder whose lock can be had belongs to nobody:
what is in it is removed, and what it says was due is finished.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import orjson

from serving.store.ingest.outcome import Door, Origin

_LOCK, _DUE = ".lock", ".due"


@dataclass(frozen=True, slots=True)
class Due:
    """An instance that is about to be in its place, but not in the index and the audit trail yet.

    Attributes
    ----------
    place:
        Of its file, in the store's folder.
    """

    place: str
    origin: Origin

    def encoded(self) -> bytes:
        """Return it as the bytes of a file."""
        return orjson.dumps({"place": self.place, "door": self.origin.door, "who": self.origin.who})

    @classmethod
    def decoded(cls, data: bytes) -> Self:
        """Return what a file says.

        Raises
        ------
        ValueError
            When it was cut off: then its instance was not put in its place.
        """
        try:
            found = orjson.loads(data)
            return cls(found["place"], Origin(Door(found["door"]), found["who"]))
        except (KeyError, TypeError) as error:
            raise ValueError(str(error)) from error


class Workplace:
    """A folder of this process alone, made by it and not taken over a fork.

    Parameters
    ----------
    incoming:
        The store's folder of what is not whole yet.

    Attributes
    ----------
    folder:
        This process's own.
    """

    def __init__(self, incoming: Path) -> None:
        name = secrets.token_hex(16)
        incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock_path = incoming / f"{name}{_LOCK}"
        # Locked before there is a folder: one without a lock is another's to clear.
        self._lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.folder = incoming / name
        self.folder.mkdir(mode=0o700)

    def close(self) -> None:
        """Give the folder back, with all that is in it; what is due still is left for the next start."""
        if not any(self.folder.glob(f"*{_DUE}")):
            shutil.rmtree(self.folder, ignore_errors=True)
            self._lock_path.unlink(missing_ok=True)
        os.close(self._lock)

    def new_path(self) -> Path:
        """Return where a temporary file may be made; its name tells nothing."""
        return self.folder / secrets.token_hex(16)

    @contextlib.contextmanager
    def due(self, instance: Due) -> Iterator[None]:
        """Have whoever comes after this process know of an instance that is about to be in its place.

        An error leaves the note: what has become of the instance is found out later, by ``clear_abandoned``.
        """
        path = self.folder / f"{secrets.token_hex(16)}{_DUE}"
        path.write_bytes(instance.encoded())
        yield
        path.unlink(missing_ok=True)


def clear_abandoned(incoming: Path, finish: Callable[[Due], None]) -> int:
    """Clear the folders of processes that were killed; return how many there were.

    May be called by many processes at once, and while others receive.

    Parameters
    ----------
    finish:
        Called with each instance that may be in its place already. When it raises, the folder stays, to be
        cleared later.
    """
    found = 0
    for folder in [entry for entry in incoming.iterdir() if entry.is_dir()]:
        lock = folder.with_name(f"{folder.name}{_LOCK}")
        with _taken(lock) as is_ours:
            if not is_ours:
                continue
            if not folder.exists():  # its process has just ended in order
                lock.unlink(missing_ok=True)
                continue
            for note in folder.glob(f"*{_DUE}"):
                with contextlib.suppress(ValueError):
                    finish(Due.decoded(note.read_bytes()))
            shutil.rmtree(folder)
            lock.unlink(missing_ok=True)
            found += 1
    return found


@contextlib.contextmanager
def _taken(lock: Path) -> Iterator[bool]:
    """Take a lock if it can be had at once."""
    fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(fd)
