"""The database of jobs, as the settings name it."""

from __future__ import annotations

from pathlib import Path

from serving.config.group import revealed
from serving.config.settings import Settings, SettingsError
from serving.database import BadDatabase, Database
from serving.webhooks.jobs.tables import JOBS


def prepared_database(settings: Settings) -> str:
    """Return the address of a database that has its tables.

    Raises
    ------
    SettingsError
        When it cannot be used.
    """
    try:
        address = revealed(settings.jobs.database) or _default_address()
        database = Database(address, JOBS)
        try:
            database.prepare()
        finally:
            database.close()
    except BadDatabase as error:
        raise SettingsError(f"bad setting: PATHSERVE_JOBS_DATABASE: {error}") from error
    return address


def _default_address() -> str:
    try:
        return f"sqlite:///{Path.home() / '.local/state/pathserve/jobs.sqlite'}"
    except RuntimeError:
        raise BadDatabase("it must be set: this user has no home folder") from None
