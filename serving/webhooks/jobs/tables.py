"""The tables of jobs and of what was sent for them, and the version of their schema."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
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

VERSION = 2
"""Counts changes of the tables below; ``JOBS`` has a step from each earlier version."""

metadata = MetaData()

jobs = Table(
    "pathserve_jobs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("kind", String(100), nullable=False),
    Column("state", String(16), nullable=False),
    # The fingerprint of the key that can open the secret.
    Column("seal", String(32)),
    Column("unique_key", String(64), unique=True),
    # Seconds since 1970 by the clock that all runners share (``Database.now``).
    Column("created_at", Double, nullable=False),
    Column("deadline_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("keep_until", Double),
    Column("key_until", Double, nullable=False),
    Column("attempt", Integer, nullable=False, default=0),
    Column("crashes", Integer, nullable=False, default=0),
    # Who has it, the number of this ownership (every write of an owner names both, so that one that was
    # replaced changes nothing), and until when it holds if nothing more is heard of its owner.
    Column("owner", String(64)),
    Column("fence", Integer, nullable=False, default=0),
    Column("lease_until", Double),
    Column("cancel_asked", Boolean, nullable=False, default=False),
    # What has become of the call that closes it: none, due, begun.
    Column("closing", String(8), nullable=False, default="none"),
    # The row only remembers the key.
    Column("is_purged", Boolean, nullable=False, default=False),
    # The large ones are last: what stands behind them in a row of SQLite's is found by reading through them.
    Column("progress", Text, nullable=False, default=""),
    Column("error", Text, nullable=False, default=""),
    # Sealed; it goes when the job has been closed.
    Column("secret", LargeBinary),
    Column("payload", LargeBinary, nullable=False),
    Column("output", LargeBinary),
    Index("pathserve_jobs_by_state", "state", "created_at"),
    Index("pathserve_jobs_by_closing", "closing"),
    Index("pathserve_jobs_by_age", "keep_until"),
)

ledger = Table(
    "pathserve_ledger",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("service", String(32), nullable=False),
    # What it is sent for, by the other side's name; it is sent once.
    Column("subject", String(200), nullable=False),
    Column("marker", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    # The job that may change it while it runs.
    Column("job_id", String(32), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("changed_at", Double, nullable=False),
    Column("keep_until", Double),
    Column("keep_s", Double, nullable=False),
    Column("note", Text, nullable=False, default=""),
    Column("seal", String(32)),
    # Sealed; it goes with the document once nothing is left to do.
    Column("secret", LargeBinary),
    Column("document", LargeBinary),
    UniqueConstraint("service", "subject"),
    Index("pathserve_ledger_by_state", "state"),
    Index("pathserve_ledger_by_age", "keep_until"),
)

schema = version_table("pathserve_schema", metadata)


def _add_ledger(connection: Connection) -> None:
    ledger.create(connection, checkfirst=True)


JOBS = Contents(
    "The store of jobs",
    0x7061_7468_6A6F_6273,
    first=jobs,
    schema=schema,
    version=VERSION,
    held="holds jobs",
    remedy="name another database, or run the release that made it until its jobs have ended",
    steps={1: _add_ledger},
)
"""The jobs, as a database's contents."""
