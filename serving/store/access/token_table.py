"""Where tokens are kept: one SQLite file, for its owner alone, which holds their digests and never a token.

A file of its own beside the index: what may be rebuilt from the slides must not be mixed with what may not.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from serving.errors import unavailable
from serving.store.access.roles import Permission, Role

_SCHEMA = 1
_BUSY_S = 5.0
_CREATE = """
CREATE TABLE IF NOT EXISTS tokens (
    id TEXT PRIMARY KEY, digest BLOB NOT NULL UNIQUE, name TEXT NOT NULL, roles TEXT NOT NULL, studies TEXT,
    created REAL NOT NULL, expires REAL, revoked REAL, made_by TEXT NOT NULL, is_share INTEGER NOT NULL
) STRICT
"""
_COLUMNS = "id, digest, name, roles, studies, created, expires, revoked, made_by, is_share"


@dataclass(frozen=True, slots=True)
class TokenRow:
    """What is known of a token.

    Attributes
    ----------
    id:
        What people and the audit trail call it.
    digest:
        SHA-256 of the token, 32 bytes.
    name:
        Whom it was given to, in the words of who made it.
    created, expires, revoked:
        Seconds since 1970.
    made_by:
        Id of the token that made it, or ``command``.
    """

    id: str
    digest: bytes
    name: str
    roles: frozenset[Role]
    permission: Permission
    created: float
    expires: float | None = None
    revoked: float | None = None
    made_by: str = "command"
    is_share: bool = False

    def is_valid(self, now: float) -> bool:
        """Return whether it opens anything at a time, in seconds since 1970."""
        return self.revoked is None and (self.expires is None or now < self.expires)


class UnusableTokens(Exception):
    """The file of tokens cannot be used; the message says why."""


class TokenTable:
    """The tokens of a store.

    Parameters
    ----------
    path:
        Of the file, which is made when it is missing.

    Raises
    ------
    UnusableTokens
        When others than its owner may read the file, or it is not of this version's schema.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._threads = threading.local()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        if path.stat().st_mode & 0o077:
            raise UnusableTokens(f"{path} may be read by others than its owner: run chmod 600 on it")
        try:
            with self._writing() as connection:
                _create_or_refuse(connection, path)
        except sqlite3.Error as error:
            raise UnusableTokens(f"{path} cannot be used ({error.sqlite_errorname})") from None

    def by_digest(self, digest: bytes) -> TokenRow | None:
        """Return the token with a digest, whether it is valid or not."""
        return self._one("digest = ?", digest)

    def by_id(self, token_id: str) -> TokenRow | None:
        """Return the token of an id."""
        return self._one("id = ?", token_id)

    def all(self) -> list[TokenRow]:
        """Return all tokens, the oldest first."""
        rows = self._connection().execute(f"SELECT {_COLUMNS} FROM tokens ORDER BY created, id")  # noqa: S608
        return [_row(values) for values in rows]

    def add(self, row: TokenRow) -> None:
        """Keep a new token."""
        studies = row.permission.studies
        with self._writing() as connection:
            connection.execute(
                f"INSERT INTO tokens ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                (
                    row.id, row.digest, row.name, ",".join(sorted(row.roles)),
                    None if studies is None else orjson.dumps(sorted(studies)).decode(),
                    row.created, row.expires, row.revoked, row.made_by, int(row.is_share),
                ),
            )  # fmt: skip

    def revoke(self, token_id: str) -> bool:
        """End a token, and the shares that it made; return whether there was a valid one."""
        now = time.time()
        with self._writing() as connection:
            ended = connection.execute(
                "UPDATE tokens SET revoked = ? WHERE id = ? AND revoked IS NULL", (now, token_id)
            )
            if ended.rowcount == 0:  # as `command`, which is nobody's id and has made most tokens
                return False
            # Who is let in no more must not have left a door open.
            connection.execute(
                "UPDATE tokens SET revoked = ? WHERE made_by = ? AND revoked IS NULL", (now, token_id)
            )
            return True

    def _one(self, condition: str, value: str | bytes) -> TokenRow | None:
        try:
            found = self._connection().execute(
                f"SELECT {_COLUMNS} FROM tokens WHERE {condition}", (value,)  # noqa: S608
            )  # fmt: skip
            values = found.fetchone()
        except sqlite3.Error:
            raise unavailable("The store's tokens cannot be read; try again later.") from None
        return None if values is None else _row(values)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        # IMMEDIATE: a transaction that reads first and writes later may fail at once, whatever the time-out.
        connection = self._connection()
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    def _connection(self) -> sqlite3.Connection:
        """Return this thread's connection, made after a fork rather than taken over one."""
        held: tuple[int, sqlite3.Connection] | None = getattr(self._threads, "held", None)
        if held is None or held[0] != os.getpid():
            connection = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None)
            connection.execute("PRAGMA journal_mode = WAL")
            held = self._threads.held = (os.getpid(), connection)
        return held[1]


def _create_or_refuse(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version not in (0, _SCHEMA):
        raise UnusableTokens(
            f"{path} is in version {version} of its schema, and this release knows version {_SCHEMA} only; "
            "run the release that made it"
        )
    connection.execute(_CREATE)
    connection.execute(f"PRAGMA user_version = {_SCHEMA}")


def _row(
    values: tuple[str, bytes, str, str, str | None, float, float | None, float | None, str, int],
) -> TokenRow:
    token_id, digest, name, roles, studies, created, expires, revoked, made_by, is_share = values
    return TokenRow(
        token_id,
        digest,
        name,
        frozenset(Role(role) for role in roles.split(",") if role),
        Permission(None if studies is None else frozenset(orjson.loads(studies))),
        created,
        expires,
        revoked,
        made_by,
        bool(is_share),
    )
