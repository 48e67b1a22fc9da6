"""Bytes are read from files by offset, or the reading ends with an error."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from serving.store.index.frames import FrameTable, Layout
from serving.store.index.query import Stored
from serving.store.reader import GoneMeanwhile, StoreReader
from tests.support.slide_store import StoreFolder
from tests.support.slides import pyramid


def stored_in(folder: Path) -> tuple[StoreReader, Stored, StoreFolder, bytes]:
    store = StoreFolder(folder)
    data = pyramid("JPEG", [(600, 300)]).instances[0].file()
    record, _ = store.add(data)
    stored = store.index.instance(record.study, record.series, record.sop)
    assert stored is not None
    return StoreReader(folder), stored, store, data


def test_an_instance_comes_as_its_file(tmp_path: Path) -> None:
    reader, stored, store, data = stored_in(tmp_path)
    assert b"".join(reader.instance(stored)) == data
    store.index.close()


def test_what_was_deleted_meanwhile_is_said_to_be_gone(tmp_path: Path) -> None:
    reader, stored, store, _ = stored_in(tmp_path)
    table = store.index.frames(stored)
    begun = reader.frames(stored, table, [1, 2])
    first = next(begun)
    store.files.remove(stored.path)
    assert first
    assert next(begun), "what has begun goes on to its end"
    for read in (reader.instance(stored), reader.frames(stored, table, [1])):
        with pytest.raises(GoneMeanwhile):
            next(read)
    with pytest.raises(GoneMeanwhile):
        reader.bulk_value(stored, 1)
    store.index.close()


@pytest.mark.parametrize("coding", ["explicit", "fragmented"])
def test_a_frame_of_many_megabytes_comes_in_pieces(tmp_path: Path, coding: str) -> None:
    frame = random.Random(1).randbytes((5 << 20) + 2)
    fragments = [frame[: 3 << 20], frame[3 << 20 : (3 << 20) + 2], frame[(3 << 20) + 2 :]]
    if coding == "explicit":
        data, table = frame, FrameTable(Layout.NATIVE, 1, struct.pack("<QI", 4, len(frame)))
    else:
        data = b"".join(b"\xfe\xff\x00\xe0" + struct.pack("<I", len(one)) + one for one in fragments)
        table = FrameTable(Layout.FRAGMENTED, 1, struct.pack("<QI", 4, len(data)))
    (tmp_path / "x.dcm").write_bytes(b"head" + data + b"tail")
    stored = Stored("1", "1.1", "1.1.1", "", "", len(data) + 8, "", "x.dcm", "test", 1, 0.0)
    bodies = [list(body) for body in StoreReader(tmp_path).frames_in_pieces(stored, table, [1, 1])]
    assert [b"".join(body) for body in bodies] == [frame, frame]
    assert max(len(piece) for body in bodies for piece in body) <= 1 << 20


def test_a_file_that_has_become_shorter_is_an_error_and_never_fewer_bytes(tmp_path: Path) -> None:
    reader, stored, store, data = stored_in(tmp_path)
    table = store.index.frames(stored)
    (tmp_path / stored.path).write_bytes(data[:3000])
    with pytest.raises(OSError, match="shorter"):
        list(reader.instance(stored))
    with pytest.raises(OSError, match="shorter"):
        list(reader.frames(stored, table, [table.count]))
    store.index.close()
