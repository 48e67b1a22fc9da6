"""Judging how much a JSON text unfolds to."""

from __future__ import annotations

import random

import pytest

from dicom_io.json_size import unfolds_beyond


def counted(text: bytes | bytearray, containers: int) -> bool:
    """The rule in plain words: what ``unfolds_beyond`` shall return, however it finds out."""
    return (
        text.count(b"{") + text.count(b"[") > containers
        or text.count(b",") + text.count(b":") > 8 * containers
    )


@pytest.mark.parametrize(
    ("alphabet", "longest"),
    [(b"{[,:", 300), (b'{}[],:"0', 6_000), (b"A" * 5_000 + b"{", 60_000), (b"A" * 900 + b"[,:", 60_000)],
)
def test_it_refuses_what_a_plain_count_refuses(alphabet: bytes, longest: int) -> None:
    chance = random.Random(7)
    for _ in range(60):
        text = bytes(chance.choices(alphabet, k=chance.randrange(longest)))
        marks = text.count(b"{") + text.count(b"[")
        values = (text.count(b",") + text.count(b":")) // 8
        for near in (0, marks - 1, marks, marks + 1, values, values + 1, len(text)):
            limit = max(0, near)
            assert unfolds_beyond(text, limit) == counted(text, limit)
            assert unfolds_beyond(bytearray(text), limit) == counted(text, limit)


@pytest.mark.parametrize("mark", [b"{", b"["])
def test_one_container_more_than_allowed_is_found_wherever_it_is(mark: bytes) -> None:
    for at in (0, 1, 5_000, 9_999):
        text = bytearray(b"A" * 10_000)
        text[at : at + 1] = mark
        assert unfolds_beyond(text, 0)
        assert not unfolds_beyond(text, 1)


def test_values_are_counted_eight_times_more_generously() -> None:
    assert not unfolds_beyond(b"[" + b"1," * 8 + b"]", 1)
    assert unfolds_beyond(b"[" + b"1," * 9 + b"]", 1)
