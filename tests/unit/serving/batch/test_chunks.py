"""Chunks whose patches fail: what is asked again, what becomes a row, and when a slide is given up."""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from dicom_io.reading import ReadOptions
from dicom_io.sources.encoded import EncodedSource
from serving.batch.chunks import OUTAGE, ChunkEmbedder, Stopped
from serving.batch.plan import Origin
from serving.errors import Code, Fault
from serving.output.table import Rows
from serving.pipeline.embedder import Embedder
from serving.pipeline.outcome import Embeddings, Outcome
from serving.pipeline.types import NO_EXTRAS, Instance

CHUNK = tuple((224 * x, 224 * y) for x in range(32) for y in range(16))
BAD, LOST = Fault(Code.DICOM_ERROR, "a bad frame"), Fault(Code.HTTP_ERROR, "the store is down")

Rule = Callable[[Origin, int], Fault | None]
"""What is wrong with a patch, asked for the so manieth time."""


@dataclass
class Planted:
    """An embedder whose patches show their origin, unless a rule has a fault for them.

    Attributes
    ----------
    knows_extras:
        Whether it knows faults of single patches, as an older service does not.
    asked:
        How many patches each call was for.
    """

    rule: Rule
    knows_extras: bool = True
    asked: list[int] = field(default_factory=list)
    metadata: Mapping[str, object] = field(default_factory=lambda: {"digest": "sha256:0"})

    def embed(self, instances: Sequence[Instance]) -> list[Outcome]:
        return [self._one(one if self.knows_extras else replace(one, extras=NO_EXTRAS)) for one in instances]

    def _one(self, instance: Instance) -> Outcome:
        self.asked.append(len(instance.patches))
        found = [self.rule((patch.x, patch.y), len(self.asked)) for patch in instance.patches]
        faults = {index: fault for index, fault in enumerate(found) if fault is not None}
        vectors = np.array([(patch.x, patch.y) for patch in instance.patches], np.float32)
        if faults and not instance.extras.per_patch_errors:
            return next(iter(faults.values()))
        vectors[[*faults]] = np.nan
        return Embeddings(vectors, faults)


def chunks_of(embedder: Planted) -> ChunkEmbedder:
    embedders: queue.SimpleQueue[Embedder] = queue.SimpleQueue()
    embedders.put(embedder)
    return ChunkEmbedder(EncodedSource(bytes), ReadOptions(), embedders)


def assert_rows(rows: Rows, bad: set[Origin]) -> None:
    """Hold that exactly some patches have an error, and all others their own vector."""
    assert [*rows.origins] == [*CHUNK]
    assert {origin for origin, error in zip(CHUNK, rows.errors, strict=True) if error} == bad
    for origin, vector in zip(CHUNK, rows.vectors, strict=True):
        assert (vector is None) == (origin in bad)
        if vector is not None:
            assert tuple(vector) == origin


@pytest.mark.parametrize("knows_extras", [True, False], ids=["this version", "an older service"])
def test_bad_patches_become_rows_with_errors(knows_extras: bool) -> None:
    bad = set(CHUNK[7::50])
    embedder = Planted(lambda origin, _: BAD if origin in bad else None, knows_extras)
    rows, _ = chunks_of(embedder).embed(CHUNK)
    assert_rows(rows, bad)
    assert (len(embedder.asked) == 1) is knows_extras


def test_patches_whose_fault_has_passed_have_their_vectors() -> None:
    embedder = Planted(lambda origin, asked: LOST if asked == 1 and origin[1] > 1000 else None)
    rows, _ = chunks_of(embedder).embed(CHUNK)
    assert_rows(rows, set())
    assert len(embedder.asked) == 2


def test_many_frames_that_are_missing_here_and_there_are_no_outage() -> None:
    bad = set(CHUNK[::3])
    rows, _ = chunks_of(Planted(lambda origin, _: LOST if origin in bad else None)).embed(CHUNK)
    assert_rows(rows, bad)


def test_an_outage_in_the_middle_of_a_chunk_stops_the_slide() -> None:
    embedder = Planted(lambda origin, _: LOST if origin[1] >= 224 * 8 else None)
    with pytest.raises(Stopped, match="the store is down"):
        chunks_of(embedder).embed(CHUNK)
    assert len(embedder.asked) == 2


def test_an_older_services_outage_stops_the_slide_soon() -> None:
    embedder = Planted(lambda _, __: LOST, knows_extras=False)
    with pytest.raises(Stopped, match="the store is down"):
        chunks_of(embedder).embed(CHUNK)
    assert len(embedder.asked) < 3 * OUTAGE


def test_a_service_that_does_not_tell_the_quality_is_said_to_be_too_old() -> None:
    embedders: queue.SimpleQueue[Embedder] = queue.SimpleQueue()
    embedders.put(Planted(lambda _, __: None))
    chunks = ChunkEmbedder(EncodedSource(bytes), ReadOptions(), embedders, quality=True)
    with pytest.raises(Stopped, match="does not tell the quality"):
        chunks.embed(CHUNK)


def test_a_fault_that_every_patch_would_meet_stops_at_once() -> None:
    refused = Fault(Code.INVALID_CREDENTIALS_ERROR, "the token has expired")
    with pytest.raises(Stopped, match="expired"):
        chunks_of(Planted(lambda origin, _: refused if origin[0] > 5000 else None)).embed(CHUNK)
