"""The index as the rest of the store sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, bindparam, func, select

from dicom_io.cache import SharedCache
from serving.database import Database
from serving.store.access.roles import EVERYTHING, Permission
from serving.store.index.attributes import Level
from serving.store.index.frames import FrameTable, Layout
from serving.store.index.query import Page, Query, Stored, Usage
from serving.store.index.record import InstanceRecord
from serving.store.index.rows import add_rows, remove_rows
from serving.store.index.search import search
from serving.store.index.tables import INDEX, details, instances, series, studies

_TABLES_KEPT_BYTES = 64 << 20
_TABLE_LIFE_S = 3600.0
_BUSY_S = 30.0
_DOCUMENTS_AT_ONCE = 25


class Added(StrEnum):
    """What became of an instance that was to be added."""

    NEW = "new"
    SAME = "same"
    DIFFERENT = "different"


class StoreIndex:
    """Which instances there are; safe to use from many threads, not over a fork.

    Parameters
    ----------
    url:
        ``sqlite:///FILE`` or ``postgresql+psycopg://USER:PASSWORD@HOST/NAME``.
    connections:
        Most of them at once.

    Raises
    ------
    BadDatabase
        When the address is not one of these.
    """

    def __init__(self, url: str, connections: int = 16) -> None:
        self._database = Database(url, INDEX, connections)
        self._tables: SharedCache[str, FrameTable] = SharedCache(_TABLES_KEPT_BYTES, _TABLE_LIFE_S)

    def prepare(self) -> None:
        """Make the tables, or be sure that they are of this version.

        Raises
        ------
        BadDatabase
        """
        self._database.prepare()

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    def add(self, record: InstanceRecord, confirm: Callable[[], None] = lambda: None) -> Added:
        """Add an instance, whose file is at its place already.

        Parameters
        ----------
        confirm:
            Raises when the file is not there any more: a deletion of the same instance may have come in
            between. While it looks none can, and when it raises nothing has been added.

        Returns
        -------
        ``SAME`` when an instance of this UID with the same bytes is there already, ``DIFFERENT`` when one
        with other bytes, or of another series, is; then nothing has been changed.

        Raises
        ------
        DatabaseLost
        """
        with self._database.writing(serial=True) as connection:
            known = connection.execute(
                select(instances.c.study, instances.c.series, instances.c.sha256).where(
                    instances.c.sop == record.sop
                )
            ).one_or_none()
            if known is not None:
                same = tuple(known) == (record.study, record.series, record.sha256)
                return Added.SAME if same else Added.DIFFERENT
            add_rows(connection, record, self._database.now)
            confirm()
        return Added.NEW

    def search(self, level: Level, query: Query, permission: Permission = EVERYTHING) -> Page:
        """Return what a query finds among the studies that somebody may see.

        Raises
        ------
        DatabaseLost
        """
        with self._database.reading() as connection:
            return search(connection, level, query, permission, is_sqlite=self._database.is_sqlite)

    def instance(
        self, study: str, series: str, sop: str, permission: Permission = EVERYTHING
    ) -> Stored | None:
        """Return an instance, ``None`` where there is none that may be seen.

        Raises
        ------
        DatabaseLost
        """
        if not permission.allows(study):
            return None
        with self._database.reading() as connection:
            row = connection.execute(_ONE, {"a": study, "b": series, "c": sop}).one_or_none()
        return None if row is None else _stored(row)

    def instances(
        self, study: str, series: str | None = None, permission: Permission = EVERYTHING
    ) -> list[Stored]:
        """Return the instances of a study, or of one of its series, in the order of arrival.

        Raises
        ------
        DatabaseLost
        """
        if not permission.allows(study):
            return []
        with self._database.reading() as connection:
            rows = connection.execute(_STORED.where(_of(study, series)).order_by(instances.c.number))
            return [_stored(row) for row in rows]

    def studies(self) -> list[str]:
        """Return the Study Instance UIDs of all studies, in the order of arrival."""
        with self._database.reading() as connection:
            return list(connection.execute(select(studies.c.study).order_by(studies.c.number)).scalars())

    def usage(self) -> Usage:
        """Return how much there is, in all studies.

        Raises
        ------
        DatabaseLost
        """
        of_instances = select(func.count(), func.coalesce(func.sum(instances.c.size), 0)).select_from(
            instances
        )
        with self._database.reading() as connection:
            in_studies, in_series = (
                connection.execute(select(func.count()).select_from(table)).scalar_one()
                for table in (studies, series)
            )
            count, size = connection.execute(of_instances).one()
        return Usage(in_studies, in_series, count, int(size))

    def frames(self, stored: Stored) -> FrameTable:
        """Return where the frames of an instance are in its file.

        Raises
        ------
        DatabaseLost
        KeyError
            When the instance has been removed meanwhile.
        """
        key = stored.path  # names the bytes by their hash, so what is known of them stays true

        def make() -> tuple[FrameTable, int]:
            columns = select(details.c.layout, details.c.frame_table).where(details.c.sop == stored.sop)
            with self._database.reading() as connection:
                row = connection.execute(columns).one_or_none()
            if row is None:
                raise KeyError(stored.sop)
            table = FrameTable(Layout(row.layout), stored.frames, row.frame_table)
            return table, len(table.entries) + 512

        return self._tables.get(key, make, _BUSY_S)

    def metadata(self, sops: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Yield UID and DICOM JSON (``metadata_json``) of instances, without those that there are not.

        Raises
        ------
        DatabaseLost
        """
        for start in range(0, len(sops), _DOCUMENTS_AT_ONCE):
            some = sops[start : start + _DOCUMENTS_AT_ONCE]
            wanted = select(details.c.sop, details.c.metadata).where(details.c.sop.in_(some))
            with self._database.reading() as connection:
                known = {row.sop: row.metadata for row in connection.execute(wanted)}
            yield from ((sop, known[sop]) for sop in some if sop in known)

    def remove(
        self,
        study: str,
        series: str | None = None,
        sop: str | None = None,
        dispose: Callable[[Stored], None] = lambda _: None,
        unless: Callable[[Sequence[Stored]], bool] = lambda _: False,
    ) -> list[Stored]:
        """Remove instances, and the series and the study that have none left; return those removed.

        Parameters
        ----------
        dispose:
            Removes an instance's file, while nobody else may add the same instance again.
        unless:
            Returns whether these instances shall stay after all: while it looks none can come in.

        Raises
        ------
        DatabaseLost
        """
        with self._database.writing(serial=True) as connection:
            gone = [_stored(row) for row in connection.execute(_STORED.where(_of(study, series, sop)))]
            if unless(gone):
                return []
            remove_rows(connection, study, [one.sop for one in gone])
            for one in gone:
                dispose(one)
        return gone


_STORED: Select[Any] = select(
    instances.c.study,
    instances.c.series,
    instances.c.sop,
    instances.c.sopclassuid,
    instances.c.transfer_syntax,
    instances.c.size,
    instances.c.sha256,
    instances.c.path,
    instances.c.origin,
    instances.c.frames,
    instances.c.added_at,
)

_ONE = _STORED.where(
    instances.c.study == bindparam("a"),
    instances.c.series == bindparam("b"),
    instances.c.sop == bindparam("c"),
)
"""Built once: each request for frames asks it, and building takes longer than the database does."""


def _stored(row: Row[Any]) -> Stored:
    return Stored(*tuple(row))


def _of(study: str, series: str | None = None, sop: str | None = None) -> ColumnElement[bool]:
    return and_(
        instances.c.study == study,
        *(() if series is None else (instances.c.series == series,)),
        *(() if sop is None else (instances.c.sop == sop,)),
    )
