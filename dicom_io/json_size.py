"""How much a JSON text unfolds to, judged before it is parsed: a store's metadata here, a request above."""

from __future__ import annotations

from collections.abc import Iterable

_SPARSE = 1024
"""Bytes a mark, from which on jumping from one to the next is faster than looking at each byte."""


def unfolds_beyond(text: bytes | bytearray, containers: int) -> bool:
    """Return whether a JSON text may hold more objects and lists than that, or more than 8 times the values.

    A text of a few bytes an object takes a hundred times its size once parsed. Braces and commas inside of
    strings are counted, too: what the limits are meant for has few of them there.
    """
    return _has_more(text, b"{[", containers) or _has_more(text, b",:", 8 * containers)


def _has_more(text: bytes | bytearray, marks: Iterable[int], limit: int) -> bool:
    """Return whether a text has more than so many of these bytes."""
    if len(text) <= limit:  # whatever is in it
        return False
    return sum(_count(text, mark) for mark in marks) > limit


def _count(text: bytes | bytearray, mark: int) -> int:
    # Base64 of images has no mark for kilobytes: finding the next one takes a tenth of the time of counting,
    # which compares byte by byte. Where marks are dense it is the other way round.
    at, found = text.find(mark), 0
    for _ in range(len(text) // _SPARSE):
        if at < 0:
            return found
        found, at = found + 1, text.find(mark, at + 1)
    return found if at < 0 else found + text.count(mark, at)
