"""A file on its way in: written by a door piece by piece, within bounds, and gone unless it is taken in."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from serving.store.ingest.outcome import Status

_CHECK_EVERY = 16 << 20
"""Bytes between two looks at how much room the disk has left."""


class Refusal(Exception):
    """An instance is not taken in; the text is one sentence for its sender, without any value of it.

    Attributes
    ----------
    status:
        What C-STORE and STOW-RS call the reason.
    is_passing:
        Whether it may be taken in later as it is.
    """

    is_passing = False

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class TooLarge(Refusal):
    """It is larger than instances may be."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            Status.OUT_OF_RESOURCES,
            f"An instance may have {limit} bytes here; send the level as a concatenation.",
        )


class DiskFull(Refusal):
    """The disk has too little room left."""

    is_passing = True

    def __init__(self) -> None:
        super().__init__(
            Status.OUT_OF_RESOURCES, "The store's disk has too little room left; nothing was stored."
        )


class Arrival:
    """A temporary file; use it as a context manager, or call ``discard``.

    Parameters
    ----------
    path:
        Where to write; in the store's own folder for what is on its way.
    limit:
        Most bytes of an instance.
    require_room:
        Raises ``DiskFull`` when so many bytes more do not fit.

    Attributes
    ----------
    path:
        The file.
    size:
        Bytes written.
    """

    def __init__(self, path: Path, limit: int, require_room: Callable[[int], None]) -> None:
        self.path = path
        self.size = 0
        self._limit = limit
        self._require_room = require_room
        self._unchecked = _CHECK_EVERY
        # A new file, so that no link left there is followed; read by the service's user alone.
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()

    def write(self, piece: bytes | bytearray | memoryview) -> None:
        """Add bytes.

        Raises
        ------
        Refusal
            TooLarge or DiskFull.
        """
        length = len(piece)
        if self.size + length > self._limit:
            raise TooLarge(self._limit)
        self._unchecked += length
        if self._unchecked >= _CHECK_EVERY:
            self._require_room(length)
            self._unchecked = 0
        view = memoryview(piece)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull from None
            raise
        self.size += length

    def discard(self) -> None:
        """Remove the file."""
        self.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Write no more; the file stays until it is discarded."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
