"""ZIP archives of strangers: what is wrong with one is said, and none takes more memory than it should."""

from __future__ import annotations

import contextlib
import io
import os
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from dicom_io.codecs.encoded_image import DamagedImage
from dicom_io.local import zip_archive
from dicom_io.local.archive import dicom_files_of_zip
from dicom_io.local.zip_archive import opened_zip

DICOM = bytes(128) + b"DICM" + bytes(range(256))


def packed(*names: str, method: int = zipfile.ZIP_DEFLATED) -> bytearray:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name in names or ("a",):
            archive.writestr(name, DICOM)
    return bytearray(file.getvalue())


def with_odd_version(whole: bytearray) -> None:
    whole[whole.index(b"PK\x01\x02") + 6] = 99  # NotImplementedError, a RuntimeError


def with_patched_data(whole: bytearray) -> None:
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        whole[whole.index(signature) + flags] |= 0x20


def with_lost_local_header(whole: bytearray) -> None:
    struct.pack_into("<I", whole, whole.index(b"PK\x01\x02") + 42, len(whole) + 1000)


def with_a_list_of_another_length(whole: bytearray) -> None:
    struct.pack_into("<I", whole, whole.rindex(b"PK\x05\x06") + 12, 20)


def cut(whole: bytearray) -> None:
    del whole[len(whole) // 2 :]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("damage", [with_lost_local_header, with_a_list_of_another_length, cut])
def test_damaged_archives_are_said_to_be(
    tmp_path: Path, damage: Callable[[bytearray], None], method: int
) -> None:
    whole = packed(method=method)
    damage(whole)
    assert "damaged ZIP" in refusal(tmp_path, whole)


@pytest.mark.parametrize("damage", [with_odd_version, with_patched_data])
def test_archives_of_a_form_that_is_not_unpacked_are_said_to_be(
    tmp_path: Path, damage: Callable[[bytearray], None]
) -> None:
    whole = packed()
    damage(whole)
    assert "unusual way" in refusal(tmp_path, whole)


def test_a_file_that_lies_beyond_what_systems_can_seek_to_is_damage(tmp_path: Path) -> None:
    """Such an offset stands in an extra field, for archives beyond 4 GiB (APPNOTE.TXT, 4.5.3)."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", DICOM)
        archive.filelist[0].header_offset = 1 << 63
    assert "damaged ZIP" in refusal(tmp_path, bytearray(file.getvalue()))


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_methods_whose_memory_the_archive_chooses_are_refused(tmp_path: Path, method: int) -> None:
    assert "use deflate" in refusal(tmp_path, packed(method=method))


@pytest.mark.parametrize(
    "error",
    [IndexError("x"), RuntimeError("x"), ValueError("x"), struct.error("x"), OverflowError("x"), EOFError()],
)
def test_whatever_comes_of_bytes_that_make_no_sense_is_damage(tmp_path: Path, error: Exception) -> None:
    (tmp_path / "s.zip").write_bytes(packed())
    with pytest.raises(DamagedImage, match="a damaged ZIP"), opened_zip(tmp_path / "s.zip"):
        raise error


def test_a_list_of_files_that_is_too_long_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zip_archive, "MAX_DIRECTORY_BYTES", 1 << 19)
    assert "too long" in refusal(tmp_path, packed(*(f"{n:0200d}" for n in range(2500))))


@pytest.mark.parametrize("seed", range(4))
def test_mutated_archives_are_read_or_refused_and_leave_no_file_open(tmp_path: Path, seed: int) -> None:
    choose = random.Random(seed)
    wholes = [packed(), packed("a", "b", "c", method=zipfile.ZIP_STORED)]
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(200):
        whole = choose.choice(wholes).copy()
        for _ in range(choose.choice((1, 2, 5, 30))):
            first = choose.choice(
                (0, len(whole) - 160)
            )  # most of what can go wrong is in the list at the end
            whole[choose.randrange(max(first, 0), len(whole))] = choose.randrange(256)
        (tmp_path / "s.zip").write_bytes(whole)
        with contextlib.suppress(DamagedImage):
            read_all(tmp_path / "s.zip")
    assert len(os.listdir("/proc/self/fd")) == before


def read_all(path: Path) -> None:
    """Read all that is found, and close it, as whoever opens a slide does."""
    with contextlib.ExitStack() as opened:
        for section in dicom_files_of_zip(path):
            opened.callback(section.file.close)
            section.read(0, section.size)


def refusal(folder: Path, whole: bytearray) -> str:
    (folder / "s.zip").write_bytes(whole)
    with pytest.raises(DamagedImage) as caught:
        read_all(folder / "s.zip")
    return str(caught.value)
