"""The tables of the index, and the version of their schema."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from serving.schema import Contents, version_table
from serving.store.index.attributes import Level, attributes_of

VERSION = 1
"""Counts changes of the tables below; a step from each earlier version belongs into ``INDEX``."""

metadata = MetaData()


def _columns(level: Level) -> list[Column[str]]:
    return [Column(a.column, Text, nullable=False, server_default="") for a in attributes_of(level)]


def _number() -> Column[int]:
    # Counts up in the order of arrival: what pages are made in. SQLite numbers only INTEGER keys by itself.
    return Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True)


studies = Table(
    "pathserve_store_studies",
    metadata,
    _number(),
    Column("study", String(64), nullable=False, unique=True),
    *_columns(Level.STUDY),
    Index("pathserve_store_studies_by_patient", "patientid"),
    Index("pathserve_store_studies_by_date", "studydate"),
)

series = Table(
    "pathserve_store_series",
    metadata,
    _number(),
    Column("study", String(64), nullable=False),
    Column("series", String(64), nullable=False),
    *_columns(Level.SERIES),
    UniqueConstraint("study", "series"),
    Index("pathserve_store_series_by_uid", "series"),
)

instances = Table(
    "pathserve_store_instances",
    metadata,
    _number(),
    Column("study", String(64), nullable=False),
    Column("series", String(64), nullable=False),
    Column("sop", String(64), nullable=False, unique=True),
    Column("transfer_syntax", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("path", Text, nullable=False),
    Column("origin", Text, nullable=False),
    # Seconds since 1970, by the clock of ``Database.now``.
    Column("added_at", Double, nullable=False),
    Column("frames", Integer, nullable=False),
    *_columns(Level.INSTANCE),
    Index("pathserve_store_instances_by_series", "study", "series"),
    Index("pathserve_store_instances_by_age", "added_at"),
)

details = Table(
    "pathserve_store_details",
    metadata,
    Column("sop", String(64), primary_key=True),
    Column("layout", String(16), nullable=False),
    # These are large, and so not in the rows that are searched.
    Column("frame_table", LargeBinary, nullable=False),
    Column("metadata", LargeBinary, nullable=False),
)

schema = version_table("pathserve_store_schema", metadata)


INDEX = Contents(
    "The index of the slide store",
    0x7061_7468_7369_6478,
    first=instances,
    schema=schema,
    version=VERSION,
    held="is an index",
    remedy="run the release that made it, or build the index anew from the files",
)
"""The index, as a database's contents."""
