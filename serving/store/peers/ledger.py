"""What has been sent to whom, so that a transfer that broke off goes on where it ended."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from serving.store.index.query import Stored

NAME = "sent.sqlite"
_TABLE = """
CREATE TABLE IF NOT EXISTS sent (
    peer TEXT NOT NULL, sop TEXT NOT NULL, sha256 TEXT NOT NULL, became TEXT NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (peer, sop)
) STRICT, WITHOUT ROWID
"""
_BUSY_S = 30.0


class Ledger:
    """The file of what has been sent; it holds UIDs of this store and of peers, no original ones."""

    def __init__(self, path: Path) -> None:
        self._path = path
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        with self._connection() as connection:
            connection.execute(_TABLE)

    def became(self, peer: str, stored: Stored) -> str | None:
        """Return what the peer calls an instance that was sent as it is now; ``None`` when it was not."""
        with self._connection() as connection:
            row = connection.execute(
                "SELECT became FROM sent WHERE peer = ? AND sop = ? AND sha256 = ?",
                (peer, stored.sop, stored.sha256),
            ).fetchone()
        return None if row is None else str(row[0])

    def add(self, peer: str, stored: Stored, became: str) -> None:
        """Note that a peer has an instance, under that SOP Instance UID."""
        with self._connection() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO sent VALUES (?, ?, ?, ?, ?)",
                (peer, stored.sop, stored.sha256, became, time.time()),
            )

    def forget(self, peer: str, stored: Stored) -> None:
        """Note that a peer has an instance no longer, so that it is sent again."""
        with self._connection() as connection:
            connection.execute("DELETE FROM sent WHERE peer = ? AND sop = ?", (peer, stored.sop))

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None)) as connection:
            yield connection
