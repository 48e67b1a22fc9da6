"""What an instance is in the tables, and what goes with the last of a series or a study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, func, select

from serving.store.index.attributes import Level, attributes_of
from serving.store.index.record import InstanceRecord
from serving.store.index.tables import details, instances, series, studies

_AT_ONCE = 200


def add_rows(connection: Connection, record: InstanceRecord, now: ColumnElement[float]) -> None:
    """Add an instance, and its study and series where they are new.

    Parameters
    ----------
    now:
        By the database's clock.
    """
    values = record.attributes

    def of(level: Level) -> dict[str, str]:
        return {a.column: values[a.column] for a in attributes_of(level) if a.column in values}

    study, of_series = {"study": record.study}, {"study": record.study, "series": record.series}
    if connection.execute(select(studies.c.number).filter_by(**study)).first() is None:
        connection.execute(studies.insert().values(study | of(Level.STUDY)))
    if connection.execute(select(series.c.number).filter_by(**of_series)).first() is None:
        connection.execute(series.insert().values(of_series | of(Level.SERIES)))
    facts: dict[str, Any] = of_series | {
        "sop": record.sop,
        "transfer_syntax": record.transfer_syntax,
        "size": record.size,
        "sha256": record.sha256,
        "path": record.path,
        "origin": record.origin,
        "added_at": now,
        "frames": record.frames.count,
    }
    connection.execute(instances.insert().values(facts | of(Level.INSTANCE)))
    connection.execute(
        details.insert().values(
            sop=record.sop,
            layout=str(record.frames.layout),
            frame_table=record.frames.entries,
            metadata=record.metadata,
        )
    )


def remove_rows(connection: Connection, study: str, sops: Sequence[str]) -> None:
    """Remove instances of a study, and the series and the study that have none left."""
    for start in range(0, len(sops), _AT_ONCE):
        some = sops[start : start + _AT_ONCE]
        connection.execute(delete(details).where(details.c.sop.in_(some)))
        connection.execute(delete(instances).where(instances.c.sop.in_(some)))
    left = select(instances.c.series).where(instances.c.study == study)
    connection.execute(delete(series).where(series.c.study == study, series.c.series.not_in(left)))
    if connection.execute(select(func.count()).select_from(left.limit(1).subquery())).scalar() == 0:
        connection.execute(delete(studies).where(studies.c.study == study))
