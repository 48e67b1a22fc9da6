"""The patches of an archive that look most like one: candidates by the index, in order by the shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import faiss
import numpy as np

from dicom_io.geometry import Patch
from dicom_io.reading import ReadOptions
from dicom_io.sources.encoded import EncodedSource
from model.encoder import PATCH_SIDE, Vectors
from serving.archive.index import indexed
from serving.archive.records import Refused, WholeSlide
from serving.archive.shards import of_length_one, rows_in
from serving.archive.stores.store import OutputStore
from serving.batch.chunks import model_of
from serving.batch.embedders import Embedders
from serving.config.settings import Settings
from serving.errors import Fault
from serving.output.files import OutputError, named
from serving.pipeline.types import Instance
from serving.processes.assembly import read_context

_BUFFER = 1 << 24

_PROBES = 64
"""Lists that are looked through."""

_CANDIDATES = 20
"""How many times as many as asked for are taken from the index: 48 bytes tell vectors apart only roughly."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A patch that was found.

    Attributes
    ----------
    distance:
        1 less the cosine of the vectors' angle, 0 to 2.
    """

    distance: float
    slide: str
    x: int
    y: int
    x0: int
    y0: int


def search(store: OutputStore, like: str, most: int, service: str | None, settings: Settings) -> list[Hit]:
    """Return the patches nearest to a picture of a patch, the nearest first.

    Raises
    ------
    OutputError
        When there is no index, or the picture cannot be read.
    Refused
        When the picture would be embedded by another model than the archive.
    """
    name, slides = indexed(store)
    vector, digest = _embedded(Path(like), service, settings)
    if others := {one.model for one in slides} - {digest}:
        raise Refused(f"{store.address} is made by the model {others.pop()}, and the picture's is {digest}.")
    with store.open(name) as file:
        index = faiss.read_index(faiss.PyCallbackIOReader(file.read, _BUFFER))
    return nearest(store, slides, index, vector, most)


def nearest(
    store: OutputStore, slides: Sequence[WholeSlide], index: Any, vector: Vectors, most: int
) -> list[Hit]:
    """Return the rows nearest to a vector, float32 ``[dimension]``."""
    asked = of_length_one(vector[None])
    if isinstance(index, faiss.IndexIVF):
        index.nprobe = min(_PROBES, index.nlist)
    _, found = index.search(asked, most * _CANDIDATES)
    numbers = np.sort(found[0][found[0] >= 0])
    ends = np.cumsum([one.rows for one in slides])
    owners = np.searchsorted(ends, numbers, side="right")
    hits = []
    for owner in dict.fromkeys(owners.tolist()):
        whole = slides[owner]
        rows = numbers[owners == owner] - (ends[owner] - whole.rows)
        places, vectors = rows_in(store, whole, rows.tolist())
        cosines = of_length_one(vectors) @ asked[0]
        hits += [
            Hit(float(1 - cosine), whole.slide, *map(int, place))
            for cosine, place in zip(cosines, places, strict=True)
        ]
    return sorted(hits, key=lambda hit: (hit.distance, hit.slide, hit.y, hit.x))[:most]


def _embedded(path: Path, service: str | None, settings: Settings) -> tuple[Vectors, str]:
    """Return a picture's vector, and the digest of the model that made it."""
    with named(path):
        data = path.read_bytes()
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if pixels is None or pixels.shape[:2] != (PATCH_SIDE, PATCH_SIDE):
        raise OutputError(f"{path} is not a picture of {PATCH_SIDE} x {PATCH_SIDE} pixels, PNG or JPEG.")
    context = read_context(settings)
    try:
        with Embedders(service, settings, context) as embedders, embedders.lent(by_name=True) as lent:
            embedder = lent.get()
            whole = (Patch(0, 0, PATCH_SIDE, PATCH_SIDE),)
            (found,) = embedder.embed([Instance(EncodedSource(lambda: data), whole, ReadOptions())])
            if isinstance(found, Fault):
                raise OutputError(f"{path}: {found.code}: {found.description}")
            return found.vectors[0], model_of(embedder).digest
    finally:
        context.decoders.close()
