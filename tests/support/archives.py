"""Archives in tests: jobs done piece by piece, without an engine, with the probe in place of a model."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from dicom_io.web.credentials import BearerToken
from serving.archive import layout
from serving.archive.blocks import do_piece
from serving.archive.job import Asked, Done, Job, Piece
from serving.archive.planning import pieces_of
from serving.archive.records import wholes
from serving.archive.stores.folder import FolderStore
from serving.archive.stores.store import OutputStore
from serving.archive.worker import Worker
from serving.batch.worklist import NamedSlide
from tests.support.commands import probe_in_process
from tests.support.local_slides import pyramid_of, write_svs


def everything(**changes: Any) -> Asked:
    """Return what asks for all patches of the largest level."""
    return dataclasses.replace(Asked(level=0, everything=True), **changes)


def write_slides(folder: Path, *sizes: tuple[int, int]) -> list[NamedSlide]:
    """Write slides of so many patches across and down."""
    folder.mkdir(parents=True, exist_ok=True)
    slides = []
    for number, (across, down) in enumerate(sizes):
        path = folder / f"slide {number}.svs"
        write_svs(path, pyramid_of(224 * across, 224 * down), mpp=0.5)
        slides.append(NamedSlide(str(path), path.stem))
    return slides


@contextlib.contextmanager
def working(job: Job) -> Iterator[Worker]:
    """Yield a worker whose encoder is the poisonable probe."""
    worker = Worker(job, probe_in_process)
    try:
        yield worker
    finally:
        worker.close()


def do_all(worker: Worker, slides: Iterable[NamedSlide]) -> list[Done]:
    """Do a job as an engine would: all plans, then all pieces."""
    found = [one for slide in slides for one in pieces_of(worker, slide)]
    return [do_piece(worker, one) if isinstance(one, Piece) else one for one in found]


def run(job: Job, slides: Sequence[NamedSlide]) -> list[Done]:
    """Do a job in a worker of its own."""
    with working(job) as worker:
        return do_all(worker, slides)


def rows_of(store: OutputStore | str | Path, slide: str) -> list[dict[str, Any]]:
    """Return the rows of a slide that is whole."""
    opened = FolderStore(str(store)) if isinstance(store, (str, Path)) else store
    (whole,) = (one for one in wholes(opened) if one.slide == slide)
    data = opened.read(whole.shard)
    assert data is not None
    rows: list[dict[str, Any]] = pq.read_table(io.BytesIO(data)).to_pylist()
    return rows


def vectors_of(rows: Sequence[dict[str, Any]]) -> np.ndarray:
    """Return the vectors of rows, float32 ``[rows, dimension]``."""
    return np.array([row["vector"] for row in rows], np.float32)


def left_over(store: OutputStore) -> list[str]:
    """Return what a finished output is not to have."""
    return [name for folder in (layout.PARTS, layout.FAILED, "tmp") for name in store.names(folder)]


def require_right(store: OutputStore, truth: Mapping[str, np.ndarray]) -> None:
    """Fail unless every slide has each of its rows once, in order, and nothing else is left."""
    assert [one.slide for one in wholes(store)] == sorted(truth)
    for whole in wholes(store):
        data = store.read(whole.shard)
        assert data is not None
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (whole.sha256, whole.size)
        rows = rows_of(store, whole.slide)
        assert [(row["y"], row["x"]) for row in rows] == sorted({(row["y"], row["x"]) for row in rows})
        assert whole.rows == len(rows)
        np.testing.assert_array_equal(vectors_of(rows), truth[whole.slide])
    store.sweep()
    assert left_over(store) == []


class CountedTokens:
    """Gives tokens of a list, one after the other, as stores refuse them."""

    def __init__(self, *texts: str) -> None:
        self._tokens = [BearerToken(text) for text in texts]
        self.renewed = 0

    def current(self) -> BearerToken:
        return self._tokens[self.renewed]

    def renew(self, refused: BearerToken | None) -> BearerToken | None:
        if refused is self.current() and self.renewed + 1 < len(self._tokens):
            self.renewed += 1
            return self.current()
        return None if refused is self.current() else self.current()
