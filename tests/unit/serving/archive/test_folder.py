"""Outputs in folders."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serving.archive.stores.folder import FolderStore
from serving.archive.stores.opening import open_store
from serving.output.files import OutputError


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(str(tmp_path / "out"))


def test_an_object_is_written_once_whoever_writes_it(store: FolderStore) -> None:
    texts = [b"%d" % number for number in range(16)]
    with ThreadPoolExecutor(16) as threads:
        added = list(threads.map(lambda text: store.add("a/b", text), texts))
    assert sum(added) == 1
    assert store.read("a/b") == texts[added.index(True)]


def test_objects_come_and_go_in_one_folder_at_the_same_time(store: FolderStore) -> None:
    """Who removes the last one removes the folder, while another writes the next."""

    def come_and_go(number: int) -> bool:
        added = store.add(f"a/{number}", b"")
        store.remove(f"a/{number}")
        return added

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(come_and_go, range(400)))
    assert list(store.names("a")) == []


def test_what_is_not_there_is_none(store: FolderStore) -> None:
    assert store.read("a/b") is None
    assert not store.exists("a/b")
    assert list(store.names("a")) == []
    store.remove("a/b")
    store.sweep()


def test_unfinished_files_of_ended_processes_are_swept_and_those_of_living_ones_kept(
    store: FolderStore, tmp_path: Path
) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(60)
    root = tmp_path / "out/tmp"
    with store.scratch() as mine:
        assert mine.name.startswith(socket.gethostname())
        here = mine.name.removesuffix(f".{os.getpid()}.{mine.name.rpartition('.')[2]}")
    dead = root / f"{here}.{ended.pid}.abc"
    alive = root / f"{here}.{os.getpid()}.abc"
    elsewhere = root / "other.host.1.abc"
    for folder in (dead, alive, elsewhere):
        folder.mkdir(parents=True)
    store.sweep()
    assert {path.name for path in root.iterdir()} == {alive.name, elsewhere.name}
    os.utime(elsewhere, (0, 0))
    store.sweep()
    assert [path.name for path in root.iterdir()] == [alive.name]


def test_what_a_file_system_hides_in_a_folder_is_no_object(store: FolderStore, tmp_path: Path) -> None:
    store.add("parts/a/000000.parquet", b"")
    (tmp_path / "out/parts/a/.nfs0000000000000001").write_bytes(b"")
    assert list(store.names("parts/a")) == ["parts/a/000000.parquet"]


def test_a_folder_that_cannot_be_listed_is_not_taken_for_an_empty_one(
    store: FolderStore, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/parts").write_bytes(b"")
    with pytest.raises(OutputError, match="Not a directory"):
        list(store.names("parts"))


def test_a_folder_that_cannot_be_written_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be written"):
        open_store(str(tmp_path / "file")).add("a/b", b"")
