"""What stands for what: a database of its own, that only the service's user reads."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from serving.store.deidentify.key import (
    Key,
    UnusableSecrets,
    create_key,
    load_key,
    require_private,
    sync_folder,
)

KEY_NAME, MAPPING_NAME = "deid.key", "mapping.sqlite"
_WAIT_S = 60.0
_TABLES = """
CREATE TABLE IF NOT EXISTS key (fingerprint TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pseudonym (
    pseudonym TEXT NOT NULL, kind TEXT NOT NULL, original TEXT NOT NULL, PRIMARY KEY (pseudonym, kind)
) STRICT, WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Pair:
    """An original and its pseudonym; the original does not print.

    Attributes
    ----------
    kind:
        ``uid``, or what the identifier identifies.
    """

    kind: str
    original: str
    pseudonym: str

    def __repr__(self) -> str:
        return f"Pair(kind={self.kind!r}, pseudonym={self.pseudonym!r})"


class MappingFile:
    """The pairs in ``mapping.sqlite``; safe to use from many threads and processes.

    A connection is opened for each use: pairs are new only with the first instances of a slide.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def create(cls, path: Path, key: Key) -> MappingFile:
        """Return the mapping of a file, made if there is none.

        Raises
        ------
        UnusableSecrets
            When others may read it, it is damaged, or it belongs to another key.
        """
        # SQLite gives its journals the mode of the database, and makes the database with the umask's.
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        except OSError as error:
            raise UnusableSecrets(f"{path} cannot be opened ({error.strerror}).") from None
        sync_folder(path.parent)
        require_private(path)
        mapping = cls(path)
        try:
            with closing(mapping._connection()) as connection, connection:
                connection.executescript(_TABLES)
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(
                    "INSERT INTO key SELECT ? WHERE NOT EXISTS (SELECT 1 FROM key)", (key.fingerprint,)
                )
                found = connection.execute("SELECT fingerprint FROM key").fetchall()
                connection.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            raise UnusableSecrets(f"{path} cannot be used ({error}); restore it from its backup.") from None
        if found != [(key.fingerprint,)]:
            raise UnusableSecrets(f"{path} was written with another key; restore the key that belongs to it.")
        return mapping

    def record(self, pairs: Iterable[Pair]) -> None:
        """Keep pairs; when this returns, they are on disk. Those that are there already cost a look.

        Raises
        ------
        OSError
            When they cannot be written; ENOSPC where the disk is full.
        """
        wanted = {(pair.pseudonym, pair.kind, pair.original) for pair in pairs}
        if not wanted:
            return
        try:
            self._add(wanted)
        except sqlite3.Error as error:
            code = errno.ENOSPC if error.sqlite_errorcode == sqlite3.SQLITE_FULL else errno.EIO
            raise OSError(code, f"the mapping of pseudonyms cannot be written: {error}") from None

    def _add(self, wanted: set[tuple[str, str, str]]) -> None:
        with closing(self._connection()) as connection:
            new = [row for row in sorted(wanted) if not _is_there(connection, row)]
            if new:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany("INSERT OR IGNORE INTO pseudonym VALUES (?, ?, ?)", new)
                connection.execute("COMMIT")

    def reverse(self, pseudonym: str) -> tuple[Pair, ...]:
        """Return what a pseudonym stands for: nothing, or one original of each kind."""
        with closing(self._connection()) as connection:
            rows = connection.execute(
                "SELECT kind, original, pseudonym FROM pseudonym WHERE pseudonym = ? ORDER BY kind",
                (pseudonym,),
            )
            return tuple(Pair(*row) for row in rows)

    def everything(self) -> Iterator[Pair]:
        """Yield all pairs, in the order of their pseudonyms."""
        with closing(self._connection()) as connection:
            for row in connection.execute(
                "SELECT kind, original, pseudonym FROM pseudonym ORDER BY pseudonym, kind"
            ):
                yield Pair(*row)

    def _connection(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=_WAIT_S, isolation_level=None)
        connection.execute("PRAGMA synchronous = FULL")
        return connection


def _is_there(connection: sqlite3.Connection, row: tuple[str, str, str]) -> bool:
    return (
        connection.execute("SELECT 1 FROM pseudonym WHERE pseudonym = ? AND kind = ?", row[:2]).fetchone()
        is not None
    )


def open_secrets(folder: Path, *, may_create: bool) -> tuple[Key, MappingFile]:
    """Return the key and the mapping of a store.

    Parameters
    ----------
    folder:
        Where ``deid.key`` and ``mapping.sqlite`` are.
    may_create:
        Whether they are made where both are missing: only for a store that holds nothing yet. With a new
        key, slides that come later would no longer belong to the studies that are there.

    Raises
    ------
    UnusableSecrets
        When one of them is missing though it may not be, is damaged, readable by others, or belongs to
        another than the other. The service must not start.
    """
    key_file, mapping_file = folder / KEY_NAME, folder / MAPPING_NAME
    if not key_file.exists() and (mapping_file.exists() or not may_create):
        raise UnusableSecrets(
            f"{key_file} is missing, though slides were de-identified with it; restore it from its backup. "
            "With a new key, new slides would not belong to the studies, series and patients that are there."
        )
    if key_file.exists() and not mapping_file.exists() and not may_create:
        raise UnusableSecrets(
            f"{mapping_file} is missing: nothing says any more what the pseudonyms stand for; restore it "
            "from its backup."
        )
    key = load_key(key_file) if key_file.exists() else create_key(key_file)
    return key, MappingFile.create(mapping_file, key)
