"""The digest of an instance's data set: stores write a file meta group of their own before it."""

from __future__ import annotations

import hashlib
from pathlib import Path

_META_AT = 132
_LENGTH = b"\x02\x00\x00\x00UL\x04\x00"
"""(0002,0000), which says how long the file meta group is (PS3.10, 7.1)."""

_HEAD = _META_AT + len(_LENGTH) + 4
_PIECE = 1 << 20


class DataSetDigest:
    """Digests an instance while it comes."""

    def __init__(self) -> None:
        self._sum = hashlib.sha256()
        self._head = bytearray()
        self._skip: int | None = None

    def add(self, piece: bytes | memoryview) -> None:
        """Take bytes of a file."""
        rest = memoryview(piece)
        if self._skip is None:
            missing = _HEAD - len(self._head)
            self._head += rest[:missing]
            rest = rest[missing:]
            if len(self._head) < _HEAD:
                return
            begins = self._head[128:_META_AT] == b"DICM" and self._head[_META_AT:-4] == _LENGTH
            # Without it nobody can say where the data set begins; then all of the file is compared.
            self._skip = int.from_bytes(self._head[-4:], "little") if begins else 0
            if not begins:
                self._sum.update(self._head)
        skipped = min(self._skip, len(rest))
        self._skip -= skipped
        self._sum.update(rest[skipped:])

    @property
    def value(self) -> str:
        """The digest of what has come."""
        return self._sum.hexdigest()


def data_set_digest(path: Path) -> str:
    """Return the digest of a file's data set."""
    digest = DataSetDigest()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.add(piece)
    return digest.value
