from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.batching import BatchPolicy, FairQueue, bucket_sizes, embed_isolating
from model.encoder import PixelBatch, Vectors

streams_of_items = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 30)), max_size=25)


@given(streams_of_items, st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_nothing_is_lost_duplicated_or_reordered_within_a_stream(
    pushes: list[tuple[int, int]], takes: list[int]
) -> None:
    queue: FairQueue[int, int] = FairQueue()
    pushed: dict[int, list[int]] = {}
    taken: dict[int, list[int]] = {}
    serial = 0
    for turn, (stream, count) in enumerate(pushes):
        items = list(range(serial, serial + count))
        serial += count
        queue.push(stream, items, float(turn))
        pushed.setdefault(stream, []).extend(items)
        for queued in queue.take(takes[turn % len(takes)]):
            taken.setdefault(queued.stream, []).append(queued.item)
    assert len(queue) == serial - sum(map(len, taken.values()))
    for queued in queue.take(serial):
        taken.setdefault(queued.stream, []).append(queued.item)
    assert taken == pushed
    assert len(queue) == 0
    assert queue.oldest() is None


@given(st.lists(st.integers(1, 50), min_size=1, max_size=10), st.integers(1, 64))
def test_a_batch_is_shared_evenly(lengths: list[int], size: int) -> None:
    queue: FairQueue[int, int] = FairQueue()
    for stream, length in enumerate(lengths):
        queue.push(stream, range(length), 0.0)
    taken = [queued.stream for queued in queue.take(size)]
    counts = [taken.count(stream) for stream in range(len(lengths))]
    full = [count for count, length in zip(counts, lengths, strict=True) if count < length]
    assert all(count <= max(counts) for count in counts)
    assert not full or max(counts) - min(full) <= 1


def test_a_lone_patch_does_not_wait_behind_four_thousand() -> None:
    queue: FairQueue[str, int] = FairQueue()
    queue.push("large", range(4000), 0.0)
    queue.take(16)
    queue.push("small", [0], 1.0)
    assert "small" in [queued.stream for queued in queue.take(2)]


def test_a_dropped_stream_gives_its_items_back_and_leaves_the_others() -> None:
    queue: FairQueue[str, int] = FairQueue()
    queue.push("a", [1, 2], 0.0)
    queue.push("b", [3], 0.0)
    assert queue.drop("a") == [1, 2]
    assert queue.drop("a") == []
    assert [queued.item for queued in queue.take(9)] == [3]


@pytest.mark.parametrize(
    ("largest", "sizes"), [(1, (1,)), (2, (1, 2)), (16, (1, 2, 4, 8, 16)), (20, (1, 2, 4, 8, 16, 20))]
)
def test_batch_sizes_are_powers_of_two_and_the_largest(largest: int, sizes: tuple[int, ...]) -> None:
    assert bucket_sizes(largest) == sizes


def test_without_a_wait_whatever_is_there_runs_at_once() -> None:
    policy = BatchPolicy((1, 2, 4, 8))
    assert [policy.ready(n, 5.0, 5.0) for n in (1, 2, 3, 7, 8, 100)] == [1, 2, 2, 4, 8, 8]
    assert policy.ready(0, None, 5.0) == 0
    assert policy.wait_until(None) is None


def test_with_a_wait_a_batch_fills_until_its_oldest_patch_is_due() -> None:
    policy = BatchPolicy((1, 2, 4, 8), max_wait_s=0.5)
    assert policy.ready(5, 10.0, 10.4) == 0
    assert policy.ready(8, 10.0, 10.1) == 8
    assert policy.ready(5, 10.0, 10.5) == 4
    assert policy.wait_until(10.0) == 10.5


def patches(count: int) -> PixelBatch:
    made = np.zeros((count, 224, 224, 3), np.uint8)
    made[:, 0, 0, 0] = np.arange(count)
    return made


def number(batch: PixelBatch) -> Vectors:
    return np.repeat(batch[:, 0, 0, :1], 3, axis=1).astype(np.float32)


@given(st.integers(1, 24), st.sets(st.integers(0, 23)))
def test_only_poisonous_patches_fail_and_no_vector_is_swapped(count: int, poison: set[int]) -> None:
    def embed(batch: PixelBatch) -> Vectors:
        if poison & set(batch[:, 0, 0, 0].tolist()):
            raise RuntimeError("poison")
        return number(batch)

    result = embed_isolating(embed, patches(count), 3)
    expected = np.array([i in poison for i in range(count)])
    np.testing.assert_array_equal(result.failed, expected)
    np.testing.assert_array_equal(result.vectors[~expected], number(patches(count))[~expected])


def test_a_vector_that_is_not_finite_has_failed() -> None:
    def embed(batch: PixelBatch) -> Vectors:
        vectors = number(batch)
        vectors[1, 2] = np.nan
        vectors[3, 0] = np.inf
        return vectors

    assert embed_isolating(embed, patches(5), 3).failed.tolist() == [False, True, False, True, False]


def test_vectors_of_the_wrong_shape_have_failed() -> None:
    assert embed_isolating(lambda batch: number(batch)[:, :2], patches(4), 3).failed.all()


@given(st.integers(1, 40), st.integers(1, 16))
def test_a_batch_too_large_for_memory_is_embedded_in_parts(count: int, room: int) -> None:
    def embed(patches: PixelBatch) -> Vectors:
        if len(patches) > room:
            raise MemoryError
        return patches[:, 0, 0, :2].astype(np.float32)

    patches = np.zeros((count, 224, 224, 3), np.uint8)
    patches[:, 0, 0, 0] = np.arange(count)
    found = embed_isolating(embed, patches, 2)
    assert not found.failed.any()
    assert found.vectors[:, 0].tolist() == list(range(count))
