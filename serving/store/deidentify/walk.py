"""The shape of a data set: elements in ascending order, items of sequences, and where each must end."""

from __future__ import annotations

from collections.abc import Iterator

from serving.store.deidentify.elements import ITEM_END, UNDEFINED, ElementReader, Header
from serving.store.deidentify.refused import damaged

Bounds = tuple[int, bool]
"""Where an item ends at the latest, and whether a delimiter ends it."""


def headers(reader: ElementReader, bounds: Bounds) -> Iterator[Header]:
    """Yield the headers of a data set or item; the value of each must have been read by the next one.

    Raises
    ------
    Refused
        When elements are not in ascending order (PS3.5, 7.1): one that comes twice could hide behind itself.
    """
    limit, delimited = bounds
    last = -1
    while (header := reader.header(limit)) is not None:
        if delimited and header[0] == ITEM_END:
            return
        if header[0] <= last:
            raise damaged("its elements are not in ascending order")
        last = header[0]
        yield header
    if delimited:
        raise damaged("an item of a sequence has no end")


def items(reader: ElementReader, header: Header, limit: int, depth: int) -> Iterator[Bounds]:
    """Yield the bounds of each item of a sequence; what is in it must have been read by the next one.

    Parameters
    ----------
    depth:
        Of the sequence's items, 1 for those of the data set itself.
    """
    reader.require_depth(depth)
    delimited = header[2] == UNDEFINED
    end = limit if delimited else reader.at + header[2]
    while (length := reader.item(end, delimited=delimited)) is not None:
        if length == UNDEFINED:
            yield end, True
            continue
        item_end = reader.at + length
        yield item_end, False
        if reader.at != item_end:
            raise damaged("an item of a sequence has another length than it claims")
    if not delimited and reader.at != end:
        raise damaged("a sequence has another length than it claims")
