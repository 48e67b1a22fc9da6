"""Files and folders that somebody names are taken in: what ``pathserve store add`` does."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from serving.store.doors.taking import FileTaker
from serving.store.ingest.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Added:
    """A file, and what became of it.

    Attributes
    ----------
    outcomes:
        Of its instances; none when it could not be read.
    fault:
        Why it could not be read; else empty.
    """

    path: Path
    outcomes: tuple[Outcome, ...] = ()
    fault: str = ""

    @property
    def is_here(self) -> bool:
        """Whether the store has all of it."""
        return bool(self.outcomes) and all(outcome.is_here for outcome in self.outcomes)


def add_paths(taker: FileTaker, paths: Iterable[Path]) -> Iterator[Added]:
    """Take in files, and the files in folders and below them, in the order of their names.

    Symbolic links in folders are passed over; those that are named themselves are followed.
    """
    for path in paths:
        for file in _files(path):
            try:
                yield Added(file, tuple(taker.take(file)))
            except OSError as error:
                yield Added(file, fault=error.strerror or type(error).__name__)


def _files(path: Path) -> Iterator[Path]:
    real = path.resolve()
    if not real.is_dir():
        yield real
        return
    for root, folders, names in os.walk(real, followlinks=False):
        folders.sort()
        for name in sorted(names):
            file = Path(root, name)
            if stat.S_ISREG(file.lstat().st_mode):
                yield file
