"""Tokens that an operator writes down: a TOML file of digests, as configuration management gives it out."""

from __future__ import annotations

import re
import threading
import tomllib
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from hmac import compare_digest
from pathlib import Path
from typing import Any

from serving.store.access.roles import SCOPED, Permission, Role
from serving.store.access.token_table import TokenRow

_KEYS = frozenset({"name", "sha256", "roles", "studies", "expires"})
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_MAX_UID = 64


class BadTokenFile(Exception):
    """The file cannot be used; the message says what to change, and quotes no digest."""


class TokenFile:
    """The tokens of a file, which is read again when it has changed.

    Parameters
    ----------
    path:
        Of a file as::

            [[token]]
            name = "scanner room 2"
            sha256 = "…"                 # of the token: printf %s "$TOKEN" | sha256sum
            roles = ["write"]
            studies = ["2.25.1"]         # none: all
            expires = 2027-01-31         # none: never

    Raises
    ------
    BadTokenFile
        When it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = self._stamp()
        self._rows = _parsed(path)

    def rows(self) -> Sequence[TokenRow]:
        """Return the tokens. A file that has become unusable lets nobody in until it is right again."""
        with self._lock:
            try:
                stamp = self._stamp()
                if stamp != self._seen:
                    self._rows, self._seen = _parsed(self._path), stamp
            except BadTokenFile:
                # Looked at again each time: one that comes back, or may be read again, has not changed.
                self._rows, self._seen = (), None
            return self._rows

    def by_digest(self, digest: bytes) -> TokenRow | None:
        """Return the token with a digest."""
        found = None
        for row in self.rows():  # all of them, each time
            if compare_digest(row.digest, digest):
                found = row
        return found

    def _stamp(self) -> tuple[int, int, int]:
        try:
            about = self._path.stat()
        except OSError as error:
            raise BadTokenFile(f"{self._path} cannot be read: {error.strerror}") from None
        return about.st_mtime_ns, about.st_size, about.st_ino


def _parsed(path: Path) -> tuple[TokenRow, ...]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadTokenFile(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise BadTokenFile(f"{path} is not TOML") from None
    entries = tables.get("token", [])
    if set(tables) - {"token"} or not isinstance(entries, list):
        raise BadTokenFile(f"{path} must hold nothing but [[token]] tables")
    return tuple(_row(entry, f"{path}, token {number}") for number, entry in enumerate(entries, 1))


def _row(entry: Mapping[str, Any], where: str) -> TokenRow:
    if not isinstance(entry, dict) or (unknown := set(entry) - _KEYS):
        raise BadTokenFile(f"{where}: unknown key {sorted(unknown)[0] if isinstance(entry, dict) else ''}")
    digest, name = entry.get("sha256"), entry.get("name")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise BadTokenFile(f"{where}: sha256 must be the 64 hexadecimal digits of the token's SHA-256")
    if not isinstance(name, str) or not name.strip():
        raise BadTokenFile(f"{where}: name must say whom the token is for")
    try:
        roles = frozenset(Role(role) for role in entry["roles"])
    except (KeyError, TypeError, ValueError):
        raise BadTokenFile(f"{where}: roles must be a list of {', '.join(Role)}") from None
    studies = _studies(entry.get("studies"), where)
    if studies is not None and not roles <= SCOPED:
        raise BadTokenFile(f"{where}: only {' and '.join(sorted(SCOPED))} can be for some studies")
    return TokenRow(
        f"file:{digest[:12].lower()}",
        bytes.fromhex(digest),
        name,
        roles,
        Permission(studies),
        0.0,
        _end(entry.get("expires"), where),
        made_by="file",
    )


def _studies(given: object, where: str) -> frozenset[str] | None:
    if given is None:
        return None
    is_list = isinstance(given, list) and all(
        isinstance(uid, str) and len(uid) <= _MAX_UID and _UID.fullmatch(uid) for uid in given
    )
    if not is_list:
        raise BadTokenFile(f"{where}: studies must be a list of Study Instance UIDs")
    assert isinstance(given, list)
    return frozenset(given)


def _end(given: object, where: str) -> float | None:
    if given is None:
        return None
    if isinstance(given, datetime):
        return (given if given.tzinfo else given.replace(tzinfo=UTC)).timestamp()
    if isinstance(given, date):  # all of the day before: it ends when that day begins
        return datetime.combine(given, time(), UTC).timestamp()
    raise BadTokenFile(f"{where}: expires must be a date or a time of TOML, as 2027-01-31")
