from __future__ import annotations

import contextlib
import io
import random
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from dicom_io.local import zip_archive
from dicom_io.waiting import Cancellation, Cancelled
from serving.webhooks.techcyte.faults import ScanError
from serving.webhooks.techcyte.scratch import TaskFolder
from serving.webhooks.techcyte.unpacking import unpacked

TIFF = b"II*\0" + bytes(range(256)) * 100
DICOM = bytes(128) + b"DICM" + bytes(range(256))
MOST = 1 << 20


class Task:
    def __init__(self, root: Path) -> None:
        self.folder = TaskFolder(root, 64 * MOST, 0)
        self.own = self.folder.folder("scan-1")
        self.waits = Cancellation(time.monotonic() + 60)

    def unpack(self, archive: bytes) -> Path:
        path = self.own / "0001.zip"
        path.write_bytes(archive)
        self.folder.take(len(archive))
        return unpacked(path, self.folder, MOST, self.waits)

    def refusal(self, archive: bytes) -> str:
        with pytest.raises(ScanError) as caught:
            self.unpack(archive)
        outside = [path for path in self.folder.path.rglob("*") if self.own not in (path, *path.parents)]
        assert not outside
        return str(caught.value)


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return Task(tmp_path)


def packed(*members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data, method)
    return file.getvalue()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_slide_is_unpacked_under_another_name_and_the_archive_removed(task: Task, method: int) -> None:
    path = task.unpack(packed(("readme.txt", b"hello"), ("a/Doe, Jane.svs", TIFF), method=method))
    assert path.read_bytes() == TIFF
    assert path.relative_to(task.own) == Path("unpacked/00002.tif")
    assert not (task.own / "0001.zip").exists()
    assert task.folder.held == len(TIFF)


def test_the_files_of_a_dicom_series_are_unpacked_to_one_folder(task: Task) -> None:
    names = ["DICOM/A/IM1", "DICOM/B/IM1", "DICOMDIR"]
    path = task.unpack(packed(*((name, DICOM + name.encode()) for name in names), ("x.xml", b"<x/>")))
    assert [file.read_bytes() for file in sorted(path.iterdir())] == [DICOM + n.encode() for n in names]


@pytest.mark.parametrize(
    "name", ["../slide.svs", "a/../../slide.svs", "/etc/slide.svs", "..\\slide.svs", "C:\\slide.svs", "c:x"]
)
def test_names_that_lead_out_are_refused(task: Task, name: str) -> None:
    assert "leads out of it" in task.refusal(packed(("slide.svs", TIFF), (name, TIFF)))


@pytest.mark.parametrize("kind", [0o120777, 0o060644, 0o020644, 0o010644])
def test_links_devices_and_pipes_are_refused(task: Task, kind: int) -> None:
    info = zipfile.ZipInfo("slide.svs")
    info.external_attr = kind << 16
    assert "link" in task.refusal(packed((info, b"/etc/passwd")))


def test_encrypted_and_nested_archives_are_refused(task: Task) -> None:
    assert "another ZIP" in task.refusal(packed(("inner.zip", packed(("slide.svs", TIFF)))))
    whole = bytearray(packed(("slide.svs", TIFF)))
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        whole[whole.index(signature) + flags] |= 1
    assert "encrypted" in Task(task.folder.folder("again")).refusal(bytes(whole))


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_methods_whose_memory_the_archive_chooses_are_refused(task: Task, method: int) -> None:
    assert "unusual way" in task.refusal(packed(("slide.svs", TIFF), method=method))


def test_what_unfolds_to_too_much_is_refused_before_it_is_written(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert f"more than {MOST:,} bytes" in task.refusal(packed(("slide.svs", TIFF + bytes(MOST))))
    monkeypatch.setattr("dicom_io.local.dicom_header._FREE_BYTES", 0)
    bomb = packed(*((f"{n}", DICOM + bytes(900_000)) for n in range(20)))
    assert "unfolds" in Task(task.folder.folder("again")).refusal(bomb)


def test_sizes_that_an_archive_is_silent_about_are_counted(task: Task) -> None:
    """The list says less than there is: what is read is held to what the list says, or is refused."""
    whole = bytearray(packed(("slide.svs", TIFF + bytes(2 * MOST))))
    struct.pack_into("<I", whole, whole.index(b"PK\x01\x02") + 24, len(TIFF))
    assert "damaged" in task.refusal(bytes(whole))


def test_the_tasks_share_is_kept_to(task: Task) -> None:
    task.folder.most_bytes = len(TIFF) + 500
    assert "MAX_TASK_BYTES" in task.refusal(packed(("slide.svs", TIFF), method=zipfile.ZIP_STORED))


def test_too_many_files_or_too_long_a_list_of_them_are_refused(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zip_archive, "MAX_FILES", 20)
    assert "more than 20 files" in task.refusal(packed(*((str(n), b"") for n in range(21))))
    monkeypatch.setattr(zip_archive, "MAX_DIRECTORY_BYTES", 1 << 19)
    long = packed(*((f"{n:0200d}", b"") for n in range(3000)))
    assert "too long" in Task(task.folder.folder("again")).refusal(long)


def cut(whole: bytes) -> bytes:
    return whole[: len(whole) // 2]


def flipped(whole: bytes) -> bytes:
    at = len(whole) // 3
    return whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]


def with_odd_version(whole: bytes) -> bytes:
    changed = bytearray(whole)
    changed[changed.index(b"PK\x01\x02") + 6] = 99
    return bytes(changed)


def with_bad_directory(whole: bytes) -> bytes:
    changed = bytearray(whole)
    struct.pack_into("<I", changed, changed.rindex(b"PK\x05\x06") + 12, 20)
    return bytes(changed)


@pytest.mark.parametrize("damage", [cut, flipped, with_odd_version, with_bad_directory])
def test_damaged_archives_are_said_to_be(task: Task, damage: Callable[[bytes], bytes]) -> None:
    assert "damaged" in task.refusal(damage(packed(("slide.svs", TIFF))))


def test_a_scan_is_one_slide(task: Task) -> None:
    assert "no slide" in task.refusal(packed(("a.txt", b"text"), ("folder/", b"")))
    two = packed(("a.svs", TIFF), ("b.svs", TIFF))
    assert "several slides" in Task(task.folder.folder("again")).refusal(two)
    mixed = packed(("a.svs", TIFF), ("b.dcm", DICOM))
    assert "several slides" in Task(task.folder.folder("mixed")).refusal(mixed)


def test_a_job_that_ends_ends_the_unpacking(task: Task) -> None:
    task.waits.cancel()
    with pytest.raises(Cancelled):
        task.unpack(packed(("slide.svs", TIFF)))


@pytest.mark.parametrize("seed", range(4))
def test_mutated_archives_are_unpacked_or_refused_and_nothing_else(task: Task, seed: int) -> None:
    choose = random.Random(seed)
    wholes = [
        packed(("slide.svs", TIFF)),
        packed(*((str(n), DICOM) for n in range(3)), method=zipfile.ZIP_STORED),
    ]
    for number in range(100):
        whole = bytearray(choose.choice(wholes))
        for _ in range(choose.choice((1, 2, 5, 30))):
            first = choose.choice(
                (0, len(whole) - 200)
            )  # most of what can go wrong is in the list at the end
            whole[choose.randrange(first, len(whole))] = choose.randrange(256)
        mutated = Task(task.folder.folder(str(number)))
        with contextlib.suppress(ScanError):
            mutated.unpack(bytes(whole))
