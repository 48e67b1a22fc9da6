"""The bytes of instances and of their frames, read from the files by offset."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dicom_io.local.files import PositionedFile
from serving.store.index.frames import ITEM_HEADER, FrameTable, Layout, joined
from serving.store.index.header import read_header
from serving.store.index.metadata import bulk_value
from serving.store.index.query import Stored

_PIECE = 1 << 20


class GoneMeanwhile(Exception):
    """An instance was deleted after it had been found."""


@dataclass(frozen=True, slots=True)
class StoreReader:
    """Reads the files of a store.

    Attributes
    ----------
    folder:
        Of the store.
    """

    folder: Path

    def instance(self, stored: Stored) -> Iterator[bytes]:
        """Yield an instance's file in pieces.

        Raises
        ------
        GoneMeanwhile, OSError
        """
        fd = self._open(stored)
        try:
            yield from _pieces(fd, 0, stored.size)
        finally:
            os.close(fd)

    def frames(
        self, stored: Stored, table: FrameTable, numbers: Iterable[int]
    ) -> Generator[bytes, None, None]:
        """Yield frames as they are stored.

        Parameters
        ----------
        numbers:
            From 1, each one that there is.

        Raises
        ------
        GoneMeanwhile, OSError
        """
        fd = self._open(stored)
        try:
            for number in numbers:
                offset, length = table.where(number)
                data = _read(fd, offset, length)
                yield joined(data) if table.layout is Layout.FRAGMENTED else data
        finally:
            os.close(fd)

    def frames_in_pieces(
        self, stored: Stored, table: FrameTable, numbers: Iterable[int]
    ) -> Generator[Iterable[bytes], None, None]:
        """Yield frames as they are stored, each as pieces that are read before the next frame is.

        A level may be one frame of gigabytes; most frames are one piece.

        Raises
        ------
        GoneMeanwhile, OSError
        """
        fd = self._open(stored)
        is_fragmented = table.layout is Layout.FRAGMENTED
        try:
            for number in numbers:
                offset, length = table.where(number)
                if length > _PIECE:
                    yield (_fragments if is_fragmented else _pieces)(fd, offset, length)
                else:
                    data = _read(fd, offset, length)
                    yield (joined(data) if is_fragmented else data,)
        finally:
            os.close(fd)

    def bulk_value(self, stored: Stored, number: int) -> bytes | None:
        """Return a value that the metadata refers to by its number; ``None`` where there is none.

        Raises
        ------
        GoneMeanwhile, UnreadableInstance, ImageError
        """
        file = PositionedFile(self._open(stored))
        try:
            return bulk_value(read_header(file.whole()).dataset, number)
        finally:
            file.close()

    def _open(self, stored: Stored) -> int:
        try:
            return os.open(self.folder / stored.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise GoneMeanwhile(stored.sop) from error


def _pieces(fd: int, offset: int, length: int) -> Iterator[bytes]:
    for at in range(0, length, _PIECE):
        yield _read(fd, offset + at, min(_PIECE, length - at))


def _fragments(fd: int, offset: int, length: int) -> Iterator[bytes]:
    """Yield the bytes of a fragmented frame out of its items; see ``joined``."""
    at = offset
    while at < offset + length:
        size = int.from_bytes(_read(fd, at, ITEM_HEADER)[4:], "little")
        yield from _pieces(fd, at + ITEM_HEADER, size)
        at += ITEM_HEADER + size


def _read(fd: int, offset: int, length: int) -> bytes:
    """Return so many bytes from an offset on: the kernel gives at most 2 GiB at a time, and fewer at will."""
    data = os.pread(fd, length, offset)
    if len(data) == length:
        return data
    pieces = [data]
    while (have := sum(map(len, pieces))) < length:
        data = os.pread(fd, length - have, offset + have)
        if not data:
            raise OSError("a file of the slide store is shorter than it was")
        pieces.append(data)
    return b"".join(pieces)
