"""Frames are found by the items that are there, whatever the offset tables say, or the file is refused."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from dicom_io.local.files import PositionedFile
from serving.store.index.frames import (
    FrameTable,
    Layout,
    UnreadableInstance,
    encapsulated_table,
    joined,
    native_table,
)

_START = 100
_JPEG = b"\xff\xd8"


def item(value: bytes) -> bytes:
    return b"\xfe\xff\x00\xe0" + struct.pack("<I", len(value)) + value


END = b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"


def table_of(
    folder: Path,
    fragments: Sequence[bytes],
    frames: int,
    basic: bytes = b"",
    extended: bytes = b"",
    tail: bytes = END,
) -> tuple[FrameTable, bytes]:
    data = b"h" * _START + item(basic) + b"".join(map(item, fragments)) + tail
    path = folder / "file"
    path.write_bytes(data)
    file = PositionedFile.open(path)
    try:
        return encapsulated_table(file.whole(), _START, frames, extended), data
    finally:
        file.close()


def frames_of(table: FrameTable, data: bytes) -> list[bytes]:
    found = []
    for number in range(1, table.count + 1):
        offset, length = table.where(number)
        raw = data[offset : offset + length]
        found.append(joined(raw) if table.layout is Layout.FRAGMENTED else raw)
    return found


def test_a_fragment_a_frame_needs_no_offset_table(tmp_path: Path) -> None:
    frames = [_JPEG + bytes([number]) * (10 + 2 * number) for number in range(5)]
    table, data = table_of(tmp_path, frames, 5)
    assert table.layout is Layout.WHOLE
    assert len(table.entries) == 12 * 5
    assert frames_of(table, data) == frames


def test_an_offset_table_that_lies_changes_nothing_where_fragments_are_frames(tmp_path: Path) -> None:
    frames = [_JPEG + b"one!", _JPEG + b"two!!!"]
    table, data = table_of(tmp_path, frames, 2, basic=struct.pack("<2I", 0, 7))
    assert frames_of(table, data) == frames


@pytest.mark.parametrize("kind", ["basic", "extended"])
def test_an_offset_table_tells_which_fragments_are_a_frame(tmp_path: Path, kind: str) -> None:
    fragments = [_JPEG + b"aa", b"bb", b"cc", _JPEG + b"dd", b"ee"]
    second = sum(8 + len(one) for one in fragments[:3])
    tables = {
        "basic": {"basic": struct.pack("<2I", 0, second)},
        "extended": {"extended": struct.pack("<2Q", 0, second)},
    }
    table, data = table_of(tmp_path, fragments, 2, **tables[kind])
    assert table.layout is Layout.FRAGMENTED
    assert frames_of(table, data) == [_JPEG + b"aabbcc", _JPEG + b"ddee"]


def test_without_a_table_frames_begin_as_the_first_one_does(tmp_path: Path) -> None:
    table, data = table_of(tmp_path, [_JPEG + b"aa", b"bb", _JPEG + b"cc"], 2)
    assert frames_of(table, data) == [_JPEG + b"aabb", _JPEG + b"cc"]


def test_a_single_frame_may_come_in_any_fragments(tmp_path: Path) -> None:
    table, data = table_of(tmp_path, [b"aa", b"aa", b"bb"], 1)
    assert frames_of(table, data) == [b"aaaabb"]


@pytest.mark.parametrize(
    ("fragments", "frames", "tail"),
    [
        ([_JPEG + b"aa"] * 3, 3, b""),
        ([_JPEG + b"aa"] * 3, 3, item(b"more")[:6]),
        ([_JPEG + b"aa"] * 3, 3, b"\xfe\xff\x00\xe0\xff\xff\xff\x7f"),
        ([_JPEG + b"aa"] * 3, 3, b"garbage!"),
        ([_JPEG + b"aa"] * 3, 2, END),
        ([_JPEG + b"aa"] * 3, 4, END),
        ([], 1, END),
    ],
    ids=["no end", "half an item", "an item beyond the file", "no item", "too many", "too few", "none"],
)
def test_what_is_cut_off_or_cannot_be_told_to_frames_is_refused(
    tmp_path: Path, fragments: list[bytes], frames: int, tail: bytes
) -> None:
    with pytest.raises(UnreadableInstance, match="pixel data"):
        table_of(tmp_path, fragments, frames, tail=tail)


def test_native_frames_are_counted_from_the_first(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"h" * 10 + b"aaabbbccc" + b"\0")
    file = PositionedFile.open(path)
    table = native_table(file.whole(), 10, 10, 3, 3)
    assert [table.where(number) for number in (1, 2, 3)] == [(10, 3), (13, 3), (16, 3)]
    for length, frames in ((10, 4), (11, 3)):
        with pytest.raises(UnreadableInstance, match="cut off"):
            native_table(file.whole(), 10, length, frames, 3)
    file.close()
