"""The seam: what an output is asked for, whatever it is kept in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Protocol


class OutputStore(Protocol):
    """Objects by name; a name has segments between slashes. Safe for many threads.

    Every operation raises ``OutputError`` when the place cannot be read or written.

    Attributes
    ----------
    address:
        As it was typed.
    """

    @property
    def address(self) -> str: ...

    def read(self, name: str) -> bytes | None:
        """Return an object; ``None`` where there is none."""

    def head(self, name: str, size: int) -> bytes | None:
        """Return at most so many of an object's first bytes; ``None`` where there is none."""

    def open(self, name: str) -> AbstractContextManager[BinaryIO]:
        """Yield an object that is there as a file, of which only what is read is fetched."""

    def exists(self, name: str) -> bool:
        """Return whether there is such an object."""

    def names(self, folder: str) -> Iterator[str]:
        """Yield the names of all objects below a folder, in no order."""

    def add(self, name: str, data: bytes) -> bool:
        """Write an object, whole, unless there is one; return whether it was this one that was written."""

    def add_file(self, name: str, path: Path) -> bool:
        """Write an object as ``add`` does, from a file in ``scratch``."""

    def put(self, name: str, data: bytes) -> None:
        """Write an object, whole, in place of what there is."""

    def put_file(self, name: str, path: Path) -> None:
        """Write an object as ``put`` does, from a file in ``scratch``."""

    def remove(self, name: str) -> None:
        """Remove an object; nothing where there is none."""

    def scratch(self) -> AbstractContextManager[Path]:
        """Yield a folder of this process's own for a file that is to be added."""

    def sweep(self) -> None:
        """Remove what processes that are no more have left of unfinished files."""
