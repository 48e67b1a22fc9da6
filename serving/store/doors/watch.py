"""The watched folder: files that have come to rest are taken in, once each.

The folder is looked through again and again: the kernel's notifications miss what another machine writes to a
network folder, and files of a folder that is moved in as a whole. Names in it are never trusted, logged or
kept: scanners and people write them, and they hold patients' names.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from serving.config.settings import SettingsError
from serving.config.store_group import IngestSettings
from serving.database import DatabaseLost
from serving.store.doors.conversion import find_converter
from serving.store.doors.seen import SeenFiles, Signature
from serving.store.doors.taking import FileTaker
from serving.store.ingest.ingest import Ingest
from serving.store.ingest.outcome import Door, Origin, Outcome

log = logging.getLogger(__name__)

_PAUSE_S = 2.0
_MAX_FILES = 200_000
_MAX_DEPTH = 32


@dataclass(frozen=True, slots=True)
class Resting:
    """How long a file has not changed, as far as has been looked."""

    signature: Signature
    since: float


class WatchedFolder:
    """Takes in what comes into a folder and its subfolders.

    Parameters
    ----------
    quiet_s:
        A file is taken in when it has not changed for so long. By this machine's clock from the first look,
        since clocks of the machines that write may be any time off.
    removes:
        Whether a file is removed once the store has its instance. Else it stays.
    seen:
        Which files have been taken in or refused; kept over restarts.
    """

    def __init__(
        self,
        folder: Path,
        taker: FileTaker,
        seen: SeenFiles,
        *,
        quiet_s: float,
        removes: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._taker = taker
        self._seen = seen
        self._quiet_s = quiet_s
        self._removes = removes
        self._clock = clock
        self._resting: dict[bytes, Resting] = {}
        self._is_away = False

    def run(self, stopped: threading.Event) -> None:
        """Watch until told to stop; the folder may be away for a while."""
        while not stopped.is_set():
            try:
                self.look(stopped)
            except OSError as error:  # its own text names the file
                log.error("the watched folder cannot be looked through: %s", error.strerror)
            except Exception:  # the index may be away; what was not taken in is met again
                log.exception("the watched folder could not be looked through")
            stopped.wait(min(_PAUSE_S, self._quiet_s))

    def look(self, stopped: threading.Event | None = None) -> list[Outcome]:
        """Look through the folder once; take in what has come to rest, and return what became of it."""
        resting: dict[bytes, Resting] = {}
        outcomes: list[Outcome] = []
        if not self._is_there():
            return outcomes
        for found in _files(self._folder.resolve()):
            if stopped is not None and stopped.is_set():
                return outcomes
            key = found.signature.place
            if self._seen.has(found.signature):
                continue
            before = self._resting.get(key)
            if before is None or before.signature != found.signature:
                before = Resting(found.signature, self._clock())
            if self._clock() - before.since < self._quiet_s:
                resting[key] = before
            else:
                outcomes += self._take(found)
        self._resting = resting
        return outcomes

    def _is_there(self) -> bool:
        """Return whether the folder is there; a network's may be away for a while, which is said once."""
        is_there = self._folder.is_dir()
        if not is_there and not self._is_away:
            log.error("the watched folder is not there")
        self._is_away = not is_there
        return is_there

    def _take(self, found: _Found) -> list[Outcome]:
        outcomes: list[Outcome] = []
        try:
            outcomes = self._taker.take(found.name, found.folder_fd)
            changed = self._signature(found) != found.signature
            if changed or any(outcome.is_passing for outcome in outcomes):
                return outcomes  # it comes to rest anew
            are_here = bool(outcomes) and all(outcome.is_here for outcome in outcomes)
            if not (self._removes and are_here and _removed(found)):
                self._seen.add(found.signature)  # also one that cannot be removed: it would come in for ever
        except FileNotFoundError:
            pass  # gone since
        except OSError as error:  # no right to read it, for one; the others are taken in all the same
            log.error("a file of the watched folder cannot be read: %s", error.strerror)
        except DatabaseLost:
            raise
        except Exception as error:  # a fault of one file's keeps no other waiting; it is met again
            log.error("a file of the watched folder cannot be taken in: %s", type(error).__name__)
        return outcomes

    @staticmethod
    def _signature(found: _Found) -> Signature:
        return Signature.of(
            found.signature.place, os.stat(found.name, dir_fd=found.folder_fd, follow_symlinks=False)
        )


@dataclass(frozen=True, slots=True)
class _Found:
    """A regular file of the folder: its name in the folder that a descriptor stands for."""

    name: str
    folder_fd: int
    signature: Signature


def _files(folder: Path) -> Iterator[_Found]:
    """Yield the regular files in a folder and below, at most so many.

    Symbolic links are neither files nor folders here, and ``fwalk`` goes down by descriptors: what is put in
    the place of a folder while it is being looked through is not entered.
    """
    count, depth = 0, len(folder.parts)
    for root, folders, names, fd in os.fwalk(folder, follow_symlinks=False):
        if len(Path(root).parts) - depth >= _MAX_DEPTH:
            folders.clear()
        folders.sort()
        for name in sorted(names):
            status = _status(name, fd)
            if status is None or not stat.S_ISREG(status.st_mode):
                continue
            count += 1
            if count > _MAX_FILES:
                log.error("the watched folder has too many files; the rest waits")
                return
            yield _Found(name, fd, Signature.of(Signature.place_of(root, name), status))


def _status(name: str, folder_fd: int) -> os.stat_result | None:
    """Return the status of a file; ``None`` when it is gone, or its folder may not be entered."""
    try:
        return os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    except OSError as error:  # its own text names the file
        log.error("a file of the watched folder cannot be looked at: %s", error.strerror)
        return None


def _removed(found: _Found) -> bool:
    """Remove a file that the store has; return whether it is gone."""
    try:
        os.unlink(found.name, dir_fd=found.folder_fd)
    except FileNotFoundError:
        return True
    except OSError as error:
        log.error("a file that was taken in cannot be removed from the watched folder: %s", error.strerror)
        return False
    return True


def open_watched_folder(ingest: Ingest, own: IngestSettings, store: Path) -> WatchedFolder:
    """Return the watched folder of the settings, which is there or will be.

    Parameters
    ----------
    store:
        The store's folder, where the watched one's memory is kept.
    """
    assert own.watch is not None, "there is a folder to watch"
    return WatchedFolder(
        own.watch,
        FileTaker(ingest, find_converter(own.converter), Origin(Door.WATCH, "watch")),
        SeenFiles(store / "watched.seen"),
        quiet_s=own.watch_quiet_s,
        removes=own.watch_mode == "move",
    )


def require_watchable(watch: Path, store: Path) -> None:
    """Refuse at the start a folder that cannot be watched.

    Raises
    ------
    SettingsError
    """
    if not watch.is_dir():
        raise SettingsError(f"bad setting: PATHSERVE_STORE_WATCH: there is no folder {watch}")
    inner, outer = watch.resolve(), store.resolve()
    if inner == outer or inner in outer.parents or outer in inner.parents:
        raise SettingsError(
            "bad setting: PATHSERVE_STORE_WATCH: it must not be in the store's folder, nor around it"
        )
