"""Names in an output."""

from __future__ import annotations

import os

import pytest

from serving.archive import layout


@pytest.mark.parametrize("name", ["a", "a b", "ü/é", "..", ".hidden", "a%2Fb", "1.2.3", os.fsdecode(b"\xff")])
def test_any_name_of_a_slide_is_one_segment_that_leads_back_to_it(name: str) -> None:
    for stored in (layout.plan_of(name), layout.done_of(name), layout.shard_of(name)):
        assert stored.count("/") == 1
        assert not stored.split("/")[1].startswith(".")
        assert layout.slide_in(stored) == name
    assert layout.part_of(name, 7).count("/") == 2


def test_the_block_of_a_name_is_found_again() -> None:
    assert layout.block_in(layout.part_of("a", 12)) == 12
    assert layout.block_in(layout.failure_of("a", 3)) == 3
    assert layout.block_in(layout.failure_of("a", None)) is None
