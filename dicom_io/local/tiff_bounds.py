"""Whether a TIFF is whole: what its directories name, beside the bytes that the file has (TIFF 6.0, BigTIFF).

Only the chain of directories is followed, which is all that OpenSlide reads.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dicom_io.local.files import Section

_MOST_DIRECTORIES = 10_000
_MOST_ENTRIES = 4096
_MOST_TABLE_BYTES = 1 << 27
"""Of the tables of tiles and strips of all directories, eight million tiles; those of further ones
are not judged."""

_PIECE = 1 << 16
"""Tiles or strips whose places are read at once."""

_TYPE_BYTES = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8,
}  # fmt: skip
_UNSIGNED = {3: "u2", 4: "u4", 13: "u4", 16: "u8"}
_TABLES = ((273, 279), (324, 325))
"""Offsets and byte counts: of strips, and of tiles."""

_FIRST_PRIVATE, _ICC_PROFILE, _NDPI = 32768, 34675, 65420
_HUGE = np.uint64(1 << 62)


@dataclass(frozen=True, slots=True)
class _Form:
    """How numbers are written: ``struct``'s byte order, of a count of entries, an entry, and an offset."""

    order: str
    count: str
    entry: str
    offset: str

    def number(self, code: str, data: bytes) -> int:
        (value,) = struct.unpack_from(self.order + code, data)
        return int(value)

    def size(self, code: str) -> int:
        return struct.calcsize(self.order + code)


@dataclass(frozen=True, slots=True)
class _Value:
    """The value of an entry; ``place`` is the value itself where it is short, else where it is."""

    kind: int
    count: int
    place: bytes

    @property
    def size(self) -> int:
        """Bytes; 0 where the kind is not known."""
        return _TYPE_BYTES.get(self.kind, 0) * self.count

    @property
    def is_inline(self) -> bool:
        return self.size <= len(self.place)


@dataclass(frozen=True, slots=True)
class _Directory:
    entries: dict[int, _Value]
    end: int
    following: int


class _CutOff(Exception):
    """A directory is not there; ``end`` is where it would end, at the earliest."""

    def __init__(self, end: int) -> None:
        super().__init__(end)
        self.end = end


def why_not_whole(file: Section) -> str | None:
    """Return what is wrong with a TIFF that is cut off, or whose directories are a circle.

    What cannot be judged is taken to be right: files of other kinds, NDPI (whose offsets have 64 bits, unlike
    a TIFF's), values of private tags, and tiles without bytes, which are left out on purpose.

    Returns
    -------
    A predicate that says what to do, too; ``None`` where nothing is wrong.

    Raises
    ------
    ImageError
        When the file cannot be read.
    """
    head = file.read(0, 16)
    form = _form_of(head)
    if form is None:
        return None
    is_big = form.offset == "Q"
    header = 16 if is_big else 8
    if len(head) < header:
        return _cut_off(header, file)
    if not is_big and _is_ndpi(file, form, head):
        return None
    end, is_circle = _walked(file, form, form.number(form.offset, head[header // 2 :]))
    if end > file.size:
        return _cut_off(end, file)
    if is_circle:
        return "is damaged: its chain of directories leads back to one of them; copy it again"
    return None


def _cut_off(end: int, file: Section) -> str:
    return f"is cut off: it names data up to byte {end}, and the file has {file.size} bytes; copy it again"


def _form_of(head: bytes) -> _Form | None:
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 4:
        return None
    version = int.from_bytes(head[2:4], "little" if order == "<" else "big")
    return {42: _Form(order, "H", "HHI4s", "I"), 43: _Form(order, "Q", "HHQ8s", "Q")}.get(version)


def _is_ndpi(file: Section, form: _Form, head: bytes) -> bool:
    """Return whether the first directory is Hamamatsu's, found by the offset of 64 bits that NDPI has."""
    try:
        first = _directory(file, form, form.number("Q", head[4:].ljust(8, b"\0")))
    except _CutOff:
        return False
    return first is not None and _NDPI in first.entries


def _walked(file: Section, form: _Form, at: int) -> tuple[int, bool]:
    """Return the end of all that directories name, and whether their chain is a circle."""
    seen, end, left = set[int](), 0, _MOST_TABLE_BYTES
    while at and len(seen) < _MOST_DIRECTORIES:
        if at in seen:
            return end, True
        seen.add(at)
        try:
            found = _directory(file, form, at)
        except _CutOff as error:
            return max(end, error.end), False
        if found is None:
            break
        end = max(end, found.end, *_ends_of_values(form, found))
        left -= sum(found.entries[tag].size for pair in _TABLES for tag in pair if tag in found.entries)
        if left >= 0:
            end = max(end, *_ends_of_data(file, form, found))
        at = found.following
    return end, False


def _directory(file: Section, form: _Form, at: int) -> _Directory | None:
    """Return a directory; ``None`` where it is none, by the number of its entries."""
    start = at + form.size(form.count)
    if len(counted := file.read(at, start - at)) < start - at:
        raise _CutOff(start)
    count = form.number(form.count, counted)
    if not 0 < count <= _MOST_ENTRIES:
        return None
    size = count * form.size(form.entry)
    end = start + size + form.size(form.offset)
    if len(data := file.read(start, end - start)) < end - start:
        raise _CutOff(end)
    entries = {tag: _Value(*rest) for tag, *rest in struct.iter_unpack(form.order + form.entry, data[:size])}
    return _Directory(entries, end, form.number(form.offset, data[size:]))


def _ends_of_values(form: _Form, directory: _Directory) -> Iterator[int]:
    yield 0
    for tag, value in directory.entries.items():
        if (tag < _FIRST_PRIVATE or tag == _ICC_PROFILE) and not value.is_inline:
            yield form.number(form.offset, value.place) + value.size


def _ends_of_data(file: Section, form: _Form, directory: _Directory) -> Iterator[int]:
    """Yield the furthest end of each some tiles or strips."""
    yield 0
    for pair in _TABLES:
        offsets, counts = (directory.entries.get(tag) for tag in pair)
        if offsets is None or counts is None or not {offsets.kind, counts.kind} <= _UNSIGNED.keys():
            continue
        total = min(offsets.count, counts.count)
        for first in range(0, total, _PIECE):
            some = min(_PIECE, total - first)
            starts = _numbers(file, form, offsets, first, some)
            sizes = _numbers(file, form, counts, first, some)
            if len(starts) < some or len(sizes) < some:
                break  # the table is cut off, which its own end says
            is_there = (starts > 0) & (sizes > 0)
            ends = np.minimum(starts, _HUGE) + np.minimum(sizes, _HUGE)  # within 64 bits, whatever they claim
            yield int(ends[is_there].max(initial=0))


def _numbers(file: Section, form: _Form, value: _Value, first: int, some: int) -> npt.NDArray[np.uint64]:
    size = _TYPE_BYTES[value.kind]
    if value.is_inline:
        data = value.place[first * size : (first + some) * size]
    else:
        data = file.read(form.number(form.offset, value.place) + first * size, some * size)
    whole = data[: len(data) // size * size]
    return np.frombuffer(whole, form.order + _UNSIGNED[value.kind]).astype(np.uint64)
