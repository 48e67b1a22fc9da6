"""What sends: by whichever protocol, one instance after the other."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from serving.store.index.query import Stored


class Verified(StrEnum):
    """What a peer has of an instance that was sent to it.

    ``SAME``: the same data set, byte for byte. ``THERE``: it is there, and its bytes are the peer's own or
    cannot be asked for. ``OTHER``: it is there with other bytes. ``MISSING``: it is not there.
    """

    SAME = "same"
    THERE = "there"
    OTHER = "other"
    MISSING = "missing"


class Sender(Protocol):
    """Sends instances to one peer; a context manager that opens and closes connections."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def send(self, stored: Stored, path: Path) -> str:
        """Send an instance; return what the peer calls it: ``STUDY/SERIES/SOP``.

        Raises
        ------
        PeerFailed
        """

    def verify(self, stored: Stored, path: Path, became: str) -> Verified:
        """Return what the peer has of an instance that was sent.

        Raises
        ------
        PeerFailed
        """


def name_of(stored: Stored) -> str:
    """Return what a peer calls an instance whose UIDs it keeps."""
    return f"{stored.study}/{stored.series}/{stored.sop}"
