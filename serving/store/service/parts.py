"""What a store is made of, put together from the settings: for its processes, and for the commands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from serving.config.group import revealed
from serving.config.settings import Settings, SettingsError
from serving.database import BadDatabase
from serving.store.access.audit import Audit
from serving.store.access.token_file import BadTokenFile, TokenFile
from serving.store.access.token_table import TokenTable, UnusableTokens
from serving.store.access.tokens import Tokens
from serving.store.deidentify.deidentifier import Deidentifier
from serving.store.deidentify.key import Key, UnusableSecrets
from serving.store.deidentify.mapping import MappingFile, open_secrets
from serving.store.files import StoreFiles
from serving.store.index.query import Stored
from serving.store.index.store_index import StoreIndex
from serving.store.ingest.ingest import Ingest

_TOKENS, _AUDIT, _INDEX = "tokens.sqlite", "audit", "index.sqlite"
_FOR_COMMANDS = 4
"""Connections to the index of a process that answers nobody."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The objects of a store, for one process; not to be taken over a fork.

    Attributes
    ----------
    folder:
        Where all of it is.
    """

    folder: Path
    files: StoreFiles
    index: StoreIndex
    tokens: Tokens
    audit: Audit

    def delete(
        self,
        study: str,
        series: str | None = None,
        sop: str | None = None,
        unless: Callable[[Sequence[Stored]], bool] = lambda _: False,
    ) -> int:
        """Delete instances and their files; return how many there were. See ``StoreIndex.remove``."""
        gone = self.index.remove(study, series, sop, lambda one: self.files.remove(one.path), unless)
        return len(gone)

    def close(self) -> None:
        """Close what has connections."""
        self.index.close()


def folder_of(settings: Settings) -> Path:
    """Return the folder of the store.

    Raises
    ------
    SettingsError
        When none is set.
    """
    if settings.slide_store.folder is None:
        raise SettingsError("PATHSERVE_STORE_DIR is not set: name the folder of the slide store")
    return settings.slide_store.folder.absolute()


def open_parts(settings: Settings, *, connections: int = _FOR_COMMANDS) -> Parts:
    """Return the objects of a store; its folder and files are made when they are missing.

    Raises
    ------
    SettingsError
        When something of it cannot be used.
    """
    folder = folder_of(settings)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        files = StoreFiles(folder, settings.ingest.min_free_bytes)
        files.prepare()
        index = StoreIndex(index_address(settings), connections)
        index.prepare()
        return Parts(folder, files, index, open_tokens(settings), open_audit(settings))
    except BadDatabase as error:
        raise SettingsError(f"bad setting: PATHSERVE_STORE_DATABASE: {error}") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise SettingsError(f"bad setting: PATHSERVE_STORE_DIR: {folder} cannot be used: {reason}") from error


def index_address(settings: Settings) -> str:
    """Return the address of the index's database."""
    own = revealed(settings.slide_store.database)
    return own or f"sqlite:///{folder_of(settings) / _INDEX}"


def open_tokens(settings: Settings) -> Tokens:
    """Return the tokens of a store.

    Raises
    ------
    SettingsError
        When a file of them cannot be used.
    """
    path = settings.slide_store.tokens_file
    try:
        return Tokens(TokenTable(folder_of(settings) / _TOKENS), None if path is None else TokenFile(path))
    except BadTokenFile as error:
        raise SettingsError(f"bad setting: PATHSERVE_STORE_TOKENS_FILE: {error}") from error
    except UnusableTokens as error:
        raise SettingsError(f"bad setting: PATHSERVE_STORE_DIR: {error}") from error


def open_audit(settings: Settings) -> Audit:
    """Return the audit trail of a store."""
    own = settings.slide_store
    return Audit(folder_of(settings) / _AUDIT, max_bytes=own.audit_bytes, keep=own.audit_files)


def open_mapping(parts: Parts) -> MappingFile:
    """Return what the pseudonyms of a store stand for.

    Raises
    ------
    SettingsError
        When the key or the mapping cannot be used.
    """
    return _secrets(parts)[1]


def open_ingest(parts: Parts, settings: Settings) -> Ingest:
    """Return the one way into a store.

    Raises
    ------
    SettingsError
        When the key or the mapping of pseudonyms cannot be used.
    """
    deidentifier = Deidentifier(*_secrets(parts))
    return Ingest(parts.files, parts.index, deidentifier, parts.audit, settings.ingest.max_instance_bytes)


def _secrets(parts: Parts) -> tuple[Key, MappingFile]:
    """Return key and mapping; a store that holds slides is never given a new key."""
    is_new = next(parts.files.places(), None) is None and not parts.index.studies()
    try:
        return open_secrets(parts.folder, may_create=is_new)
    except UnusableSecrets as error:
        raise SettingsError(str(error)) from error
