"""The vectors of whole slides, read back: for an index, and whoever has a use for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from model.encoder import Vectors
from serving.archive.records import WholeSlide
from serving.archive.stores.store import OutputStore
from serving.output.table import vectors_of

PLACES = ("x", "y", "x0", "y0")

_ROWS_AT_ONCE = 8192


def vectors_in(store: OutputStore, whole: WholeSlide) -> Iterator[tuple[int, Vectors]]:
    """Yield a slide's vectors: the number of the first row, and float32 ``[rows, dimension]``."""
    with store.open(whole.shard) as file:
        first = 0
        for batch in pq.ParquetFile(file).iter_batches(_ROWS_AT_ONCE, columns=["vector"]):
            yield first, vectors_of(pa.Table.from_batches([batch]))
            first += batch.num_rows


def rows_in(
    store: OutputStore, whole: WholeSlide, rows: Sequence[int]
) -> tuple[npt.NDArray[np.int64], Vectors]:
    """Return some rows of a slide, reading only the groups of rows that they are in.

    Returns
    -------
    ``PLACES`` as int64 ``[rows, 4]`` and vectors as float32 ``[rows, dimension]``, in the order of ``rows``.
    """
    with store.open(whole.shard) as opened:
        file = pq.ParquetFile(opened)
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        ends = np.cumsum(sizes)
        groups = np.searchsorted(ends, rows, side="right")
        tables = {
            group: file.read_row_group(group, columns=[*PLACES, "vector"])
            for group in sorted(set(groups.tolist()))
        }
        picked = [
            tables[group].slice(row - (ends[group] - sizes[group]), 1)
            for row, group in zip(rows, groups.tolist(), strict=True)
        ]
    table = pa.concat_tables(picked)
    places = np.stack([table.column(name).to_numpy() for name in PLACES], axis=-1)
    return places.astype(np.int64), vectors_of(table)


def of_length_one(vectors: Vectors) -> Vectors:
    """Return vectors scaled to length 1: their products are then the cosines of their angles."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, np.finfo(np.float32).tiny), np.float32)
