"""An index of all vectors, by faiss: small enough to be held in memory, and asked for candidates only.

Vectors are put into lists around centres (IVF), and within them are kept as 48 bytes (PQ) after a rotation
that makes these tell more (OPQ). What is found is sorted again by the vectors in the shards: ``searching``.
"""

from __future__ import annotations

import dataclasses
import json
import math
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
from serving.archive.shards import of_length_one, total, vectors_in
from serving.archive.stores.store import OutputStore
from serving.output.files import OutputError

VECTORS, ROWS = f"{layout.INDEX}/vectors.faiss", f"{layout.INDEX}/rows.json"

_FEW = 20_000
"""So many vectors are compared one by one in less time than it takes to explain an index."""

_CODE_BYTES = 48
_MOST_LISTS = 1 << 18
_SAMPLES_A_LIST = 64
"""Vectors that centres are learnt from; faiss asks for 39 to 256 for each."""

_MOST_SAMPLES = 1 << 21


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
    rows = total(slides)
    if not rows:
        raise OutputError(f"{store.address} has no slide that is whole.")
    index = empty_index(_samples(store, slides, rows), rows)
    first = 0
    for whole in slides:
        for at, vectors in vectors_in(store, whole):
            there = np.isfinite(vectors).all(axis=1)
            numbers = first + at + np.flatnonzero(there)
            index.add_with_ids(of_length_one(vectors[there]), numbers.astype(np.int64))
        first += whole.rows
    with store.scratch() as folder:
        path = folder / "vectors"
        faiss.write_index(index, str(path))
        size = path.stat().st_size
        store.put_file(VECTORS, path)
    facts = {"version": VERSION, "slides": [dataclasses.asdict(one) | {"failures": ()} for one in slides]}
    store.put(ROWS, as_json(facts))
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
    kind = f"OPQ{_CODE_BYTES},IVF{lists_for(rows)},PQ{_CODE_BYTES}"
    index = faiss.index_factory(dimension, kind, faiss.METRIC_INNER_PRODUCT)
    index.train(samples)
    return index


def lists_for(rows: int) -> int:
    """Return how many lists vectors are put into: about four times their root, a power of two."""
    return min(_MOST_LISTS, 1 << round(math.log2(4 * math.sqrt(rows))))


def indexed_slides(store: OutputStore) -> list[WholeSlide]:
    """Return the slides of the index, in the order of their rows.

    Raises
    ------
    OutputError
        When there is no index.
    """
    data = store.read(ROWS)
    if data is None:
        raise OutputError(f"{store.address} has no index: pathserve archive index {store.address} builds it.")
    return [WholeSlide(**one) for one in json.loads(data)["slides"]]


def _samples(store: OutputStore, slides: Sequence[WholeSlide], rows: int) -> Vectors:
    """Return vectors from all slides, evenly, the same ones every time."""
    wanted = min(rows, _MOST_SAMPLES, lists_for(rows) * _SAMPLES_A_LIST)
    chance = np.random.default_rng(0)
    found = []
    for whole in slides:
        for _, vectors in vectors_in(store, whole):
            some = vectors[np.isfinite(vectors).all(axis=1)]
            found.append(some[chance.random(len(some)) <= wanted / rows])
    samples = np.concatenate(found)
    if not len(samples):
        raise OutputError(f"{store.address} has no patch with a vector.")
    return of_length_one(samples)
