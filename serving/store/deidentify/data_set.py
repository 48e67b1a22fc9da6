"""A data set by the keep-list: elements and items read one after the other, and written as they may stay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from serving.store.deidentify import removed
from serving.store.deidentify.coded_items import CodedItems
from serving.store.deidentify.elements import (
    END_OF_SEQUENCE,
    UNDEFINED,
    ElementReader,
    Header,
    element,
    element_header,
    item,
)
from serving.store.deidentify.keeping.keep_list import KEEP_LIST, Items
from serving.store.deidentify.keeping.pseudonyms import Pseudonyms
from serving.store.deidentify.refused import damaged
from serving.store.deidentify.walk import Bounds, headers, items

PIXELS, EXTENDED_OFFSETS, EXTENDED_LENGTHS = 0x7FE00010, 0x7FE00001, 0x7FE00002
_PER_FRAME, _PROFILE = 0x52009230, 0x00282000
_IMAGE_TYPES = frozenset({0x00080008, 0x00089007})
_MOST_VALUE, _MOST_PROFILE = 4096, 16_000_000
_MOST_OFFSETS = 8 * 4_000_000
_MOST_HELD = 32 << 20
"""Bytes of a sequence that is written at once: of all but the functional groups of frames."""

Piece = tuple[int, bytes]
"""A tag and a part of its element as written; an element may come in several."""


class DataSetCleaner:
    """Cleans what a reader reads.

    Parameters
    ----------
    count:
        Counts what does not stay, by kind.

    Attributes
    ----------
    values:
        Those that stay of the data set itself, not of items, and are no sequences.
    image_types:
        Every word of Image Type and Frame Type as it was sent, in capitals: one that does not stay tells as
        well what the image shows.
    extended_offsets:
        The extended offset table.
    pixels:
        The header of the pixel data.
    """

    def __init__(self, reader: ElementReader, pseudonyms: Pseudonyms, count: Counter[str]) -> None:
        self.values: dict[int, bytes] = {}
        self.image_types: set[bytes] = set()
        self.extended_offsets = b""
        self.pixels: Header = (PIXELS, b"", 0)
        self._reader = reader
        self._pseudonyms = pseudonyms
        self._count = count
        coded = CodedItems(reader, pseudonyms, count)
        self._cleaners: dict[Items, Callable[[Bounds, int], bytes | None]] = {
            Items.DATA_SETS: self._item,
            Items.CODES: coded.code,
            Items.CONTENT: coded.content,
            Items.NONE: self._no_item,
        }

    def elements(self) -> Iterator[Piece]:
        """Yield the elements that stay, up to the pixel data, whose value is read next.

        Raises
        ------
        Refused
            When it is damaged, or has no pixel data.
        """
        limit = self._reader.size
        for header in headers(self._reader, (limit, False)):
            tag, vr, length = header
            if tag == PIXELS:
                self.pixels = header
                return
            if tag == EXTENDED_OFFSETS and vr in (b"OV", b"") and length <= _MOST_OFFSETS:
                self.extended_offsets = self._reader.read(length)
            elif tag == _PER_FRAME and vr in (b"SQ", b""):
                yield from self._per_frame(header, limit)
            elif written := self._cleaned(header, limit, 0):
                yield tag, written
        raise damaged("it has no pixel data")

    def _per_frame(self, header: Header, limit: int) -> Iterator[Piece]:
        """Yield the functional groups of each frame: millions of elements, never all at once."""
        yield _PER_FRAME, element_header(_PER_FRAME, b"SQ", UNDEFINED)
        for bounds in items(self._reader, header, limit, 1):
            yield _PER_FRAME, item(self._item(bounds, 1))
        yield _PER_FRAME, END_OF_SEQUENCE

    def _cleaned(self, header: Header, limit: int, depth: int) -> bytes:
        """Return an element as it stays; nothing where it does not."""
        tag, vr, length = header
        kept = KEEP_LIST.get(tag)
        if tag in _IMAGE_TYPES and (length > _MOST_VALUE or vr not in (b"CS", b"")):
            raise damaged("an image type of it is no code string")
        if kept is None or vr not in (kept.vr, b""):
            if tag != EXTENDED_LENGTHS:  # written anew
                self._count[_kind(tag, known=kept is not None)] += 1
            self._reader.skip(header, limit, depth)
            return b""
        if isinstance(kept.rule, Items):
            body = self._sequence(kept.rule, header, limit, depth + 1)
            return element(tag, b"SQ", body) if body or kept.rule is not Items.CODES else b""
        if length > (_MOST_PROFILE if tag == _PROFILE else _MOST_VALUE):  # or undefined
            self._reader.skip(header, limit, depth)
            value = None
        else:
            sent = self._reader.read(length)
            if tag in _IMAGE_TYPES:
                self.image_types.update(word.strip(b"\0 ").upper() for word in sent.split(b"\\"))
            value = kept.rule(sent, self._pseudonyms) if length else b""
        if value is None:
            self._count[removed.WRONG_VALUE] += 1
            return b""
        if depth == 0:
            self.values[tag] = value
        return element(tag, kept.vr, value)

    def _sequence(self, rule: Items, header: Header, limit: int, depth: int) -> bytes:
        clean = self._cleaners[rule]
        bodies, held = list[bytes](), 0
        for bounds in items(self._reader, header, limit, depth):
            body = clean(bounds, depth)
            if body is not None:
                bodies.append(item(body))
                held += len(bodies[-1])
                if held > _MOST_HELD:
                    raise damaged("a sequence holds more than those of slides do")
        return b"".join(bodies)

    def _item(self, bounds: Bounds, depth: int) -> bytes:
        return b"".join([self._cleaned(header, bounds[0], depth) for header in headers(self._reader, bounds)])

    def _no_item(self, bounds: Bounds, depth: int) -> None:
        for header in headers(self._reader, bounds):
            self._reader.skip(header, bounds[0], depth)
        self._count[removed.ITEM] += 1


def _kind(tag: int, *, known: bool) -> str:
    if known:
        return removed.WRONG_VR
    return removed.PRIVATE if tag >> 16 & 1 else removed.UNLISTED
