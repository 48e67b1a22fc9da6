"""The order of work: blocks of patches, and results ahead of who takes them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.batch.ahead import ahead
from serving.batch.plan import BAND_ROWS, CHUNK, plan


@given(st.sets(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=400))
def test_every_patch_is_in_one_chunk_and_bands_are_in_order(places: set[tuple[int, int]]) -> None:
    origins = sorted(places, key=lambda place: place[::-1])
    work = plan(origins)
    assert sorted(origin for chunk in work.chunks for origin in chunk) == sorted(origins)
    assert [number for band in work.bands for number in band] == list(range(len(work.chunks)))
    in_bands = [
        sorted((o for n in band for o in work.chunks[n]), key=lambda o: o[::-1]) for band in work.bands
    ]
    assert [origin for band in in_bands for origin in band] == origins


def test_chunks_are_blocks_that_share_tiles() -> None:
    origins = [(x * 224, y * 224) for y in range(64) for x in range(256)]
    work = plan(origins)
    assert {len(chunk) for chunk in work.chunks} == {CHUNK}
    for chunk in work.chunks:
        rows, columns = {y for _, y in chunk}, {x for x, _ in chunk}
        assert (len(rows), len(columns)) == (BAND_ROWS, CHUNK // BAND_ROWS)
    assert work.patches == len(origins)


def test_a_band_of_little_tissue_has_more_rows() -> None:
    work = plan([(0, y * 224) for y in range(2000)])
    assert {len(chunk) for chunk in work.chunks} <= {CHUNK, 2000 % CHUNK}


def test_two_items_are_worked_on_while_a_result_is_used() -> None:
    begun = [threading.Event() for _ in range(5)]
    let_go = [threading.Event() for _ in range(5)]

    def work(number: int) -> int:
        begun[number].set()
        assert let_go[number].wait(30)
        return number

    let_go[0].set()
    results = ahead(work, range(5), 2)
    assert next(results) == 0
    assert begun[1].wait(30)
    assert begun[2].wait(30)
    assert not begun[3].is_set()
    for event in let_go:
        event.set()
    assert list(results) == [1, 2, 3, 4]


def test_a_result_that_fails_is_raised_in_its_turn() -> None:
    def work(number: int) -> int:
        if number == 1:
            raise ValueError(number)
        return number

    results: Iterator[int] = ahead(work, range(9), 2)
    assert next(results) == 0
    with pytest.raises(ValueError, match="1"):
        next(results)
