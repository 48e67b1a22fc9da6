"""Vectors as Parquet: one row a patch; docs/outputs.md has the columns."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from serving.output.files import whole
from serving.output.table import (
    ABOUT,
    QUALITY,
    About,
    Identity,
    PatchFrame,
    Rows,
    has_quality,
    joined,
    table_of,
)

_ROWS_AT_ONCE = 8192

VECTOR_VALUES = "vector.list.element"
"""What Parquet calls the column of the vectors' numbers."""


class _ParquetTable:
    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer = writer

    def append(self, table: pa.Table) -> None:
        """Write rows as a row group."""
        self._writer.write_table(table.cast(self._writer.schema))


@contextlib.contextmanager
def writing(path: Path, about: About, frame: PatchFrame, dimension: int) -> Iterator[_ParquetTable]:
    """Yield what writes a Parquet file; see ``serving.output.formats``."""
    with whole(path) as file, pq.ParquetWriter(file, _schema(about, frame, dimension)) as writer:
        yield _ParquetTable(writer)


def write_compact(
    file: BinaryIO, about: About, frame: PatchFrame, dimension: int, tables: Iterable[pa.Table]
) -> None:
    """Write tables as a Parquet file of the same columns in about five sixths of the bytes.

    The bytes of the vectors are split by their place in a float: exponents resemble each other, which zstd
    makes use of.
    """
    schema = _schema(about, frame, dimension)
    texts = [field.name for field in schema if field.name not in ("vector", *QUALITY)]
    options = {"compression": "zstd", "use_dictionary": texts, "use_byte_stream_split": [VECTOR_VALUES]}
    with pq.ParquetWriter(file, schema, **options) as writer:
        for table in tables:
            writer.write_table(table.cast(schema))


def _schema(about: About, frame: PatchFrame, dimension: int) -> pa.Schema:
    quality = np.empty((0, len(QUALITY)), np.float32) if has_quality(about) else None
    empty = joined([table_of(Rows((), (), (), quality=quality), Identity(None, None, ""), frame)], dimension)
    return empty.schema.with_metadata({ABOUT: json.dumps(about)})


def about(path: Path) -> object:
    """Return what a Parquet file says about its run."""
    try:
        with path.open("rb") as file:
            return json.loads((pq.read_schema(file).metadata or {})[ABOUT.encode()])
    except (pa.ArrowException, KeyError, ValueError):
        return None


def tables(path: Path) -> Iterator[pa.Table]:
    """Yield the rows of a Parquet file, some at a time."""
    with path.open("rb") as file:
        for batch in pq.ParquetFile(file).iter_batches(_ROWS_AT_ONCE):
            yield pa.Table.from_batches([batch])


def dimension(path: Path) -> int:
    """Return how long the vectors of a Parquet file are."""
    with path.open("rb") as file:
        return int(pq.read_schema(file).field("vector").type.list_size)
