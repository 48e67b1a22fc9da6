"""What a database holds, and which version of it: made once, brought up to date, or refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Column, Connection, Integer, MetaData, Table, inspect, select


class WrongSchema(Exception):
    """The database holds something else than this version's tables; the text says what."""


def version_table(name: str, metadata: MetaData) -> Table:
    """Return the table that says of which version all others are.

    Parameters
    ----------
    name:
        Each kind of contents has one of its own: several may be in one database of PostgreSQL's.
    """
    return Table(name, metadata, Column("version", Integer, nullable=False))


@dataclass(frozen=True, slots=True)
class Contents:
    """What a database holds.

    Attributes
    ----------
    name:
        What users call it, as the beginning of a sentence.
    lock:
        Number of an advisory lock of PostgreSQL that nothing else uses.
    first:
        A table of ours that every version has.
    schema:
        See ``version_table``; its metadata have all tables.
    version:
        Of the tables as they are defined here.
    held, remedy:
        What to call another version's database, and what its user can do.
    steps:
        Makes a database of the next version out of one of the version that is the key.
    """

    name: str
    lock: int
    first: Table
    schema: Table
    version: int
    held: str
    remedy: str
    steps: Mapping[int, Callable[[Connection], None]] = field(default_factory=dict)

    def create_or_refuse(self, connection: Connection) -> None:
        """Make the tables where there are none; be sure of those that there are.

        Raises
        ------
        WrongSchema
        """
        found = set(inspect(connection).get_table_names())
        if self.schema.name not in found:
            if self.first.name in found:
                raise WrongSchema(f"has a table {self.first.name}, but none that says its version")
            self.schema.metadata.create_all(connection)
            connection.execute(self.schema.insert().values(version=self.version))
            return
        version = connection.execute(select(self.schema.c.version)).scalar()
        while version is not None and version in self.steps:
            self.steps[version](connection)
            version += 1
            connection.execute(self.schema.update().values(version=version))
        if version != self.version:
            raise WrongSchema(
                f"{self.held} in version {version} of the schema, and this release knows version "
                f"{self.version} only; {self.remedy}"
            )
