"""When a slide becomes whole: whoever finds all of its parts puts them together.

Nobody is appointed. A worker that has written a part looks whether all are there; the one that wrote the last
does find them, and if it is killed, whoever plans the slide again does. Two may find them at the same time:
each writes the same rows, the shard of the first stays, and both say of that file what it holds. Parts are
removed once the record is there; who misses one then knows why.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from serving.archive import layout
from serving.archive.plans import Head
from serving.archive.records import Failure, WholeSlide, write_whole
from serving.archive.stores.store import OutputStore
from serving.output.files import OutputError
from serving.output.parquet import write_compact
from serving.output.table import PROVENANCE, joined, provenance_of
from serving.provenance import merged

_MOST_FAILURES = 100


class _Gone(Exception):
    """A part has been removed: another worker has made the slide whole."""


def blocks_there(store: OutputStore, slide: str) -> set[int]:
    """Return the numbers of the blocks that have been written and not been put together."""
    found = (layout.block_in(name) for name in store.names(layout.parts_of(slide)))
    return {block for block in found if block is not None}


def commit_if_whole(store: OutputStore, head: Head) -> bool:
    """Make a slide whole if all of its parts are there; return whether it became so by this call."""
    if len(blocks_there(store, head.slide)) < head.blocks:
        return False
    with store.scratch() as folder:
        path = folder / "shard"
        try:
            whole = _write(store, head, path)
        except _Gone:
            tidy(store, head)
            return False
        if not store.add_file(whole.shard, path):
            whole = _told(store, head, whole)
        became = write_whole(store, whole)
    tidy(store, head)
    return became


def tidy(store: OutputStore, head: Head) -> None:
    """Remove what a slide that is whole needs no more."""
    if not store.exists(layout.done_of(head.slide)):
        return
    for folder in (layout.parts_of(head.slide), layout.failures_of(head.slide)):
        for name in list(store.names(folder)):
            store.remove(name)


def _write(store: OutputStore, head: Head, path: Path) -> WholeSlide:
    counts: Counter[str] = Counter()
    found: Counter[Failure] = Counter()
    told = merged(record for band in head.bands for block in band for record in _told_of(store, head, block))
    made = {
        "model": head.model.digest,
        "encoder": head.model.name,
        "untrained": head.model.untrained,
        **({PROVENANCE: told} if told else {}),
    }

    def bands() -> Iterator[pa.Table]:
        for band in head.bands:
            tables = []
            for block in band:
                table = _part(store, head, block)
                counts["rows"] += table.num_rows
                found.update(_failures(head.slide, block, table))
                tables.append(table)
            yield joined(tables, head.dimension)

    with path.open("wb") as file:
        write_compact(file, {**head.about, **made}, head.frame, head.dimension, bands())
    failures = tuple(
        Failure(one.slide, one.block, one.code, one.sentence, times)
        for one, times in list(found.items())[:_MOST_FAILURES]
    )
    with path.open("rb") as written:
        digest = hashlib.file_digest(written, "sha256").hexdigest()
    return WholeSlide(
        head.slide,
        layout.shard_of(head.slide),
        digest,
        path.stat().st_size,
        counts["rows"],
        found.total(),
        head.blocks,
        head.model.digest,
        failures,
    )


def _told(store: OutputStore, head: Head, whole: WholeSlide) -> WholeSlide:
    """Return the record of the shard that is there: of the same rows, but perhaps by another pyarrow."""
    with store.open(whole.shard) as file:
        # mypy knows of no readinto in BinaryIO; files and blobs have it.
        digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        size = file.tell()
        rows = pq.read_metadata(file).num_rows
    if rows != whole.rows:
        raise OutputError(f"{store.address}/{whole.shard} is of another plan; remove it, and run again.")
    return WholeSlide(
        whole.slide,
        whole.shard,
        digest,
        size,
        whole.rows,
        whole.errors,
        whole.blocks,
        head.model.digest,
        whole.failures,
    )


def _part(store: OutputStore, head: Head, block: int) -> pa.Table:
    name = layout.part_of(head.slide, block)
    data = store.read(name)
    if data is None:
        raise _Gone
    try:
        return pq.read_table(io.BytesIO(data))
    except pa.ArrowException as error:
        raise OutputError(
            f"{store.address}/{name} is damaged; remove it, and run again: it is made anew."
        ) from error


def _told_of(store: OutputStore, head: Head, block: int) -> list[Mapping[str, Any]]:
    """Return what a part's vectors are made of, reading no rows."""
    name = layout.part_of(head.slide, block)
    if not store.exists(name):
        raise _Gone
    with store.open(name) as file:
        return provenance_of(pq.read_schema(file))


def _failures(slide: str, block: int, table: pa.Table) -> Iterator[Failure]:
    for error in table.column("error").to_pylist():
        if error is not None:
            code, _, sentence = error.partition(": ")
            yield Failure(slide, block, code, sentence)
