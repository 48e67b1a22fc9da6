"""Searches as statements: matching by PS3.4, C.2.2.2, and pages in the order of arrival."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Row,
    Select,
    and_,
    exists,
    false,
    func,
    or_,
    select,
)

from serving.store.access.roles import Permission
from serving.store.index.attributes import Level, attributes_of
from serving.store.index.query import Found, Match, Page, Query
from serving.store.index.tables import instances, series, studies

_TABLES = {Level.STUDY: studies, Level.SERIES: series, Level.INSTANCE: instances}
_RANGES = ("DA", "TM", "DT")
_WILD = ("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT", "IS", "DS")


def search(
    connection: Connection, level: Level, query: Query, permission: Permission, *, is_sqlite: bool
) -> Page:
    """Return the rows of one page."""
    where = and_(True, *_conditions(level, query, permission, is_sqlite=is_sqlite))
    table = _TABLES[level]
    # Which rows a page has is found with as few tables as that takes, and only these rows are put together.
    top = min([level, *(match.attribute.level for match in query.matches)])
    matching = select(table.c.number).select_from(_joined(level, top)).where(where)
    paged = matching.order_by(table.c.number).limit(query.limit + 1).offset(query.offset)
    wanted = table.c.number.in_(paged.scalar_subquery())
    rows = connection.execute(_selected(level).where(wanted).order_by(table.c.number)).all()
    remaining = 0
    if len(rows) > query.limit:
        rows = rows[: query.limit]
        count = select(func.count()).select_from(matching.subquery())
        remaining = max(1, connection.execute(count).scalar_one() - query.offset - query.limit)
    modalities = _modalities(connection, [row.study for row in rows]) if level is Level.STUDY else {}
    return Page(tuple(_found(level, row, modalities) for row in rows), remaining)


def _joined(level: Level, top: Level = Level.STUDY) -> FromClause:
    """Return a level's table with those above it up to another: each of its rows has one row of each."""
    joined: FromClause = _TABLES[level]
    if level is Level.INSTANCE and top < Level.INSTANCE:
        of_series = and_(instances.c.study == series.c.study, instances.c.series == series.c.series)
        joined = joined.join(series, of_series)
    if level > Level.STUDY and top is Level.STUDY:
        joined = joined.join(studies, _TABLES[level].c.study == studies.c.study)
    return joined


def _selected(level: Level) -> Select[Any]:
    columns: list[ColumnElement[Any]] = []
    for above in Level:
        if above <= level:
            columns += [_TABLES[above].c[a.column] for a in attributes_of(above)]
    table = _TABLES[level]
    columns += [table.c.study]
    if level is not Level.STUDY:
        columns += [table.c.series]
    if level is Level.INSTANCE:
        columns += [instances.c[name] for name in ("sop", "transfer_syntax", "frames", "size")]
        columns += [instances.c[name] for name in ("origin", "added_at")]
    else:
        columns += [count.label(name) for name, count in _counts(level)]
    return select(*columns).select_from(_joined(level))


def _counts(level: Level) -> Iterator[tuple[str, ColumnElement[int]]]:
    inside = [instances.c.study == _TABLES[level].c.study]
    if level is Level.SERIES:
        inside.append(instances.c.series == series.c.series)
    else:
        of_study = series.c.study == studies.c.study
        yield "series_count", select(func.count()).select_from(series).where(of_study).scalar_subquery()
    yield "instance_count", select(func.count()).select_from(instances).where(*inside).scalar_subquery()


def _conditions(
    level: Level, query: Query, permission: Permission, *, is_sqlite: bool
) -> Iterator[ColumnElement[bool]]:
    table = _TABLES[level]
    if permission.studies is not None:
        yield table.c.study.in_(sorted(permission.studies)) if permission.studies else false()
    for column, uids in (("study", query.study), ("series", query.series), ("sop", query.sop)):
        if uids:
            yield table.c[column].in_(uids)
    for match in query.matches:
        yield _matches(_TABLES[match.attribute.level].c[match.attribute.column], match, is_sqlite=is_sqlite)
    if query.modalities:
        other = series.alias()  # whatever series a row is of, all of its study count
        inside = exists().where(other.c.study == table.c.study)
        yield inside.where(_any_of(other.c.modality, query.modalities, is_sqlite=is_sqlite))
    for column, values in (("transfer_syntax", query.transfer_syntaxes), ("origin", query.origins)):
        if values:
            yield table.c[column].in_(values)


def _any_of(column: ColumnElement[str], values: Sequence[str], *, is_sqlite: bool) -> ColumnElement[bool]:
    return or_(*(_like(column, value, is_sqlite=is_sqlite) for value in values))


def _matches(column: ColumnElement[str], match: Match, *, is_sqlite: bool) -> ColumnElement[bool]:
    attribute = match.attribute
    conditions = []
    for value in match.values:
        if attribute.is_many:
            conditions.append(_like(column, f"*\\{value}\\*", is_sqlite=is_sqlite))
        elif attribute.vr in _RANGES and "-" in value:
            conditions.append(_in_range(column, value))
        elif attribute.vr in _WILD:
            conditions.append(_like(column, value, is_sqlite=is_sqlite))
        else:
            conditions.append(column == value)
    return or_(*conditions)


def _in_range(column: ColumnElement[str], value: str) -> ColumnElement[bool]:
    """Return the condition of ``FROM-TO``, of which one end may be open; both ends are part of it."""
    first, _, last = value.partition("-")
    conditions = [column != ""]
    if first:
        conditions.append(column >= first)
    if last:
        # A time to the minute ends with its last second; what begins with it is still in it.
        conditions.append(column <= last + "~")
    return and_(*conditions)


def _like(column: ColumnElement[str], value: str, *, is_sqlite: bool) -> ColumnElement[bool]:
    """Return the condition of a text with wildcards, by case (PS3.4, C.2.2.2.4)."""
    if "*" not in value and "?" not in value:
        return column == value
    if is_sqlite:  # its LIKE does not tell cases apart
        return column.op("GLOB")(value.replace("[", "[[]"))
    escaped = value.replace("!", "!!").replace("%", "!%").replace("_", "!_")
    return column.like(escaped.replace("*", "%").replace("?", "_"), escape="!")


def _modalities(connection: Connection, uids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for start in range(0, len(uids), 500):
        some = uids[start : start + 500]
        rows = connection.execute(
            select(series.c.study, series.c.modality).where(series.c.study.in_(some)).distinct()
        )
        for study, modality in sorted(map(tuple, rows)):
            if modality:
                found[study] = (*found.get(study, ()), modality)
    return found


def _found(level: Level, row: Row[Any], modalities: dict[str, tuple[str, ...]]) -> Found:
    values = row._mapping
    attributes = [a for above in Level if above <= level for a in attributes_of(above)]
    return Found(
        level=level,
        study=row.study,
        values={a.column: values[a.column] for a in attributes if values[a.column]},
        modalities=modalities.get(row.study, ()),
        **{
            name: values[name]
            for name in ("series", "sop", "series_count", "instance_count", "transfer_syntax")
            if name in values
        },
        **{name: values[name] for name in ("frames", "size", "origin", "added_at") if name in values},
    )
