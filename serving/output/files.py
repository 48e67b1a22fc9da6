"""Files that are written whole or not at all, and what to say when they cannot be."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


class OutputError(Exception):
    """The output cannot be written, or is of another run; the text says what to do.

    Attributes
    ----------
    full:
        Whether there is no room left: then nothing else can be written there, either.
    """

    def __init__(self, sentence: str, *, full: bool = False) -> None:
        super().__init__(sentence)
        self.full = full


@contextlib.contextmanager
def whole_path(path: Path) -> Iterator[Path]:
    """Yield where to write a file or a folder that is moved into place once it is complete, else removed."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        _remove(temporary)
        yield temporary
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            _remove(temporary)
        raise


@contextlib.contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that is moved into place once it is completely written, and is removed otherwise."""
    with whole_path(path) as temporary, temporary.open("wb") as file:
        yield file


def write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    with whole(path) as file:
        file.write(data)


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """Turn an OSError into an OutputError that names the file and what to do."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        hint = " Make room; the same command goes on from there." if full else ""
        reason = error.strerror or str(error)
        raise OutputError(f"{path} cannot be written: {reason}.{hint}", full=full) from error


def as_text(path: str | Path) -> str:
    """Return a path as text: a table holds text, and a name on this system may be any bytes."""
    return os.fsencode(path).decode("utf-8", "replace")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
