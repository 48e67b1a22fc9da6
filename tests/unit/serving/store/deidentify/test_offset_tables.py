from __future__ import annotations

import io
import struct
from itertools import accumulate

import numpy as np
import pydicom
import pytest
from pydicom.encaps import generate_frames

from tests.support.raw_dicom import data_set, element, encapsulated, file_of, minimal
from tests.support.slides import CODINGS, JPEG, stained
from tests.unit.serving.store.deidentify.conftest import Clean

TILES = [CODINGS["JPEG"].encode(np.ascontiguousarray(stained(64, 8)[:, x : x + 8])) for x in range(0, 64, 8)]
COMMENTED = [tile[:2] + b"\xff\xfe\x00\x0dPHIKOWALSKI" + tile[2:] for tile in TILES]


def image(pixels: bytes, *tables: bytes) -> bytes:
    elements = minimal(t7FE00010=None, t00280008=("IS", str(len(TILES)).encode()))
    return file_of(data_set(elements) + b"".join(tables) + pixels, JPEG)


def even(data: bytes) -> int:
    return len(data) + len(data) % 2


def starts(frames: list[bytes], parts: int = 1) -> list[int]:
    return [0, *accumulate(even(frame) + 8 * parts for frame in frames)][:-1]


def written(data: bytes, clean: Clean) -> tuple[pydicom.Dataset, list[bytes]]:
    dataset = pydicom.dcmread(io.BytesIO(clean(data)[0]))
    frames = [*generate_frames(dataset.PixelData, number_of_frames=len(TILES))]
    return dataset, frames


def test_a_basic_table_leads_to_the_frames_as_they_are_now(clean: Clean) -> None:
    table = struct.pack(f"<{len(TILES)}I", *starts(COMMENTED))
    for source in (encapsulated(*COMMENTED, table=table), encapsulated(*COMMENTED)):
        dataset, frames = written(image(source), clean)
        assert [frame.rstrip(b"\0") for frame in frames] == [tile.rstrip(b"\0") for tile in TILES]
        now = struct.unpack(f"<{len(TILES)}I", dataset.PixelData[8 : 8 + 4 * len(TILES)])
        assert list(now) == starts(TILES)
        assert "ExtendedOffsetTable" not in dataset


def test_extended_tables_lead_to_the_frames_as_they_are_now(clean: Clean) -> None:
    count = len(TILES)
    tables = (
        element(0x7FE00001, "OV", struct.pack(f"<{count}Q", *starts(COMMENTED))),
        element(0x7FE00002, "OV", struct.pack(f"<{count}Q", *map(len, COMMENTED))),
    )
    dataset, frames = written(image(encapsulated(*COMMENTED), *tables), clean)
    assert [frame.rstrip(b"\0") for frame in frames] == [tile.rstrip(b"\0") for tile in TILES]
    assert list(struct.unpack(f"<{count}Q", dataset.ExtendedOffsetTable)) == starts(TILES)
    assert list(struct.unpack(f"<{count}Q", dataset.ExtendedOffsetTableLengths)) == [
        even(tile) for tile in TILES
    ]
    assert dataset.PixelData[4:8] == bytes(4)  # then the basic one is empty (PS3.3, C.7.6.3.1.8)


@pytest.mark.parametrize("told", ["basic", "extended", "by their first bytes"])
def test_frames_in_several_fragments_become_one_each(told: str, clean: Clean) -> None:
    cut = [2 * (len(frame) // 4) for frame in COMMENTED]
    fragments = [part for frame, at in zip(COMMENTED, cut, strict=True) for part in (frame[:at], frame[at:])]
    offsets = starts(COMMENTED, parts=2)
    if told == "extended":
        table = element(0x7FE00001, "OV", struct.pack(f"<{len(offsets)}Q", *offsets))
        data = image(encapsulated(*fragments), table)
    elif told == "by their first bytes":
        data = image(encapsulated(*fragments))
    else:
        data = image(encapsulated(*fragments, table=struct.pack(f"<{len(offsets)}I", *offsets)))
    _, frames = written(data, clean)
    assert [frame.rstrip(b"\0") for frame in frames] == [tile.rstrip(b"\0") for tile in TILES]
