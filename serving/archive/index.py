"""An index of all vectors, by faiss: small enough to be held in memory, and asked for candidates only.

Vectors are put into lists around centres (IVF), and within them are kept as 48 bytes (PQ). They are not
rotated before (OPQ), which takes long to learn: without it, too, the candidates have nearly all that are
truly nearest. What is found is sorted again by the vectors in the shards: ``searching``.
"""

from __future__ import annotations

import dataclasses
import json
import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np

from model.encoder import Vectors
from serving.archive import layout
from serving.archive.job import as_json
from serving.archive.plans import VERSION
from serving.archive.records import WholeSlide, wholes
from serving.archive.shards import of_length_one, vectors_in
from serving.archive.stores.store import OutputStore
from serving.output.files import OutputError

ROWS = f"{layout.INDEX}/rows.json"
"""Says which rows an index is of, and which file it is in; written after that."""

_FEW = 20_000
"""So many vectors are compared one by one in less time than it takes to explain an index."""

_CODE_BYTES = 48
_MOST_LISTS = 1 << 18
_MOST_COMPARED = 1 << 13
"""More centres than this are not compared with a vector one by one but looked up in a graph (HNSW)."""

_SAMPLES_A_LIST = 40
"""Vectors that centres are learnt from; faiss asks for 39 to 256 for each."""

_MOST_SAMPLES = 1 << 20
"""1.6 GB; where there are more lists than a fortieth of this, faiss warns, and centres are less even."""

_ROUNDS = 6
"""Of learning centres, where faiss takes 10 and 25: the first gain most, and candidates make up for it."""

_CODE_SAMPLES = 64
"""Vectors that each of a byte's 256 meanings is learnt from."""


@dataclass(frozen=True, slots=True)
class Built:
    """An index.

    Attributes
    ----------
    size:
        In bytes.
    """

    vectors: int
    size: int


def build(store: OutputStore) -> Built:
    """Build the index of an archive, of the slides that are whole now.

    Raises
    ------
    OutputError
        When there is no vector.
    """
    slides = list(wholes(store))
    if not slides:
        raise OutputError(f"{store.address} has no slide that is whole.")
    count = sum(whole.rows - whole.errors for whole in slides)
    if not count:
        raise OutputError(f"{store.address} has no patch with a vector.")
    index = empty_index(_samples(store, slides, count), count)
    first = 0
    for whole in slides:
        for at, vectors in vectors_in(store, whole):
            there = np.isfinite(vectors).all(axis=1)
            numbers = first + at + np.flatnonzero(there)
            index.add_with_ids(of_length_one(vectors[there]), numbers.astype(np.int64))
        first += whole.rows
    older = list(store.names(layout.INDEX))
    name = f"{layout.INDEX}/{uuid.uuid4().hex}.faiss"
    with store.scratch() as folder:
        path = folder / "vectors"
        faiss.write_index(index, str(path))
        size = path.stat().st_size
        store.put_file(name, path)
    rows_of = [dataclasses.asdict(one) | {"failures": ()} for one in slides]
    store.put(ROWS, as_json({"version": VERSION, "vectors": name, "slides": rows_of}))
    for one in older:
        if one != ROWS:
            store.remove(one)
    return Built(int(index.ntotal), size)


def empty_index(samples: Vectors, rows: int) -> Any:
    """Return an index that has learnt from samples, for so many vectors of length 1.

    Parameters
    ----------
    samples:
        float32 ``[samples, dimension]``, of length 1.
    """
    dimension = samples.shape[1]
    if rows < _FEW or dimension % _CODE_BYTES:
        return faiss.IndexIDMap2(faiss.IndexFlatIP(dimension))
    lists = lists_for(rows)
    # np: without the order of codes by their bits, which takes long to learn and which nothing here uses.
    graph = "_HNSW32" if lists > _MOST_COMPARED else ""
    index = faiss.index_factory(dimension, f"IVF{lists}{graph},PQ{_CODE_BYTES}np", faiss.METRIC_INNER_PRODUCT)
    index.cp.niter = index.pq.cp.niter = _ROUNDS
    index.pq.cp.max_points_per_centroid = _CODE_SAMPLES
    index.train(samples)
    return index


def samples_for(rows: int) -> int:
    """Return how many vectors an index of so many learns from."""
    return min(rows, _MOST_SAMPLES, lists_for(rows) * _SAMPLES_A_LIST)


def lists_for(rows: int) -> int:
    """Return how many lists vectors are put into: about four times their root, a power of two."""
    return min(_MOST_LISTS, 1 << round(math.log2(4 * math.sqrt(rows))))


def indexed(store: OutputStore) -> tuple[str, list[WholeSlide]]:
    """Return the name of the index, and its slides in the order of their rows.

    Raises
    ------
    OutputError
        When there is no index.
    """
    data = store.read(ROWS)
    if data is None:
        raise OutputError(f"{store.address} has no index: pathserve archive index {store.address} builds it.")
    facts = json.loads(data)
    return facts["vectors"], [WholeSlide(**one) for one in facts["slides"]]


def _samples(store: OutputStore, slides: Sequence[WholeSlide], count: int) -> Vectors:
    """Return some of so many vectors, evenly from all slides, the same ones every time."""
    share = samples_for(count) / count
    chance = np.random.default_rng(0)
    found = []
    for whole in slides:
        for _, vectors in vectors_in(store, whole):
            some = vectors[np.isfinite(vectors).all(axis=1)]
            found.append(of_length_one(some[chance.random(len(some)) <= share]))
    return np.concatenate(found)
