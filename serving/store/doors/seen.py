"""Which files of a watched folder need no second look: by digests, since file names hold patients' names."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_DIGEST = 16


@dataclass(frozen=True, slots=True)
class Signature:
    """A file as it was at one look.

    Attributes
    ----------
    place:
        Digest of its path.
    """

    place: bytes
    inode: int
    size: int
    changed_ns: int

    @staticmethod
    def place_of(folder: str, name: str) -> bytes:
        """Return the digest of a path."""
        return hashlib.sha256(os.fsencode(os.path.join(folder, name))).digest()[:_DIGEST]

    @classmethod
    def of(cls, place: bytes, status: os.stat_result) -> Self:
        """Return the signature of a file by its status."""
        return cls(place, status.st_ino, status.st_size, status.st_mtime_ns)

    @property
    def digest(self) -> bytes:
        """What is kept of it."""
        facts = f"{self.inode} {self.size} {self.changed_ns}".encode()
        return hashlib.sha256(self.place + facts).digest()[:_DIGEST]


class SeenFiles:
    """The files that have been taken in and stay, or were refused; kept in a file of digests.

    The watching process alone writes it. A digest that a crash cut off is forgotten: its file is taken in
    once more, which changes nothing for an instance that the store has.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        data = path.read_bytes() if path.exists() else b""
        whole = len(data) - len(data) % _DIGEST
        self._digests = {data[at : at + _DIGEST] for at in range(0, whole, _DIGEST)}
        if whole != len(data):
            os.truncate(path, whole)

    def has(self, signature: Signature) -> bool:
        """Return whether a file, as it is, has been seen."""
        return signature.digest in self._digests

    def add(self, signature: Signature) -> None:
        """Remember a file as it is."""
        digest = signature.digest
        self._digests.add(digest)
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, digest)
        finally:
            os.close(fd)
