"""Files come to their places whole, and leave no folders behind."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from serving.store.files import DiskFull, StoreFiles, place_of
from serving.store.uids import InstanceUids

UIDS = InstanceUids("1.2", "3.4", "5.6")
PLACE = place_of(UIDS, "ab" * 32)


@pytest.fixture
def files(tmp_path: Path) -> StoreFiles:
    files = StoreFiles(tmp_path / "store")
    files.prepare()
    return files


def test_a_file_is_at_its_place_only_when_it_was_kept(files: StoreFiles) -> None:
    with files.temporary() as path:
        path.write_bytes(b"whole")
        assert list(files.places()) == []
        kept = files.keep(path, PLACE)
    assert kept.read_bytes() == b"whole"
    assert list(files.places()) == [PLACE]
    assert list(files.incoming.iterdir()) == []


def test_what_is_not_kept_is_removed(files: StoreFiles) -> None:
    def cut_off() -> None:
        with files.temporary() as path:
            path.write_bytes(b"half")
            raise RuntimeError("cut")

    with pytest.raises(RuntimeError, match="cut"):
        cut_off()
    assert list(files.incoming.iterdir()) == []


def test_bytes_that_claim_the_same_uid_are_kept_apart(files: StoreFiles) -> None:
    assert place_of(UIDS, "cd" * 32) != PLACE


def test_removing_the_last_file_removes_its_folders_and_no_others(files: StoreFiles) -> None:
    other = place_of(InstanceUids("1.2", "9.9", "7"), "ab" * 32)
    for place in (PLACE, other):
        with files.temporary() as path:
            files.keep(path, place)
    files.remove(PLACE)
    files.remove(PLACE)
    assert list(files.places()) == [other]
    assert sorted(p.name for p in (files.folder / "instances" / "1.2").iterdir()) == ["9.9"]
    files.remove(other)
    assert list((files.folder / "instances").iterdir()) == []


def test_a_file_is_kept_while_others_of_its_series_are_removed(files: StoreFiles) -> None:
    kept = [place_of(InstanceUids("1.2", "3.4", f"5.{n}"), "ab" * 32) for n in range(200)]
    gone = [place_of(InstanceUids("1.2", "3.4", f"6.{n}"), "ab" * 32) for n in range(200)]

    def come_and_go() -> None:
        for place in gone:
            with files.temporary() as path:
                files.keep(path, place)
            files.remove(place)

    thread = threading.Thread(target=come_and_go)
    thread.start()
    for place in kept:
        with files.temporary() as path:
            files.keep(path, place)
        files.remove(place)
    thread.join()
    assert list(files.places()) == []


def test_files_and_folders_are_for_their_owner_alone(files: StoreFiles) -> None:
    with files.temporary() as path:
        assert path.stat().st_mode & 0o077 == 0
        kept = files.keep(path, PLACE)
    for one in (kept, kept.parent, files.incoming):
        assert one.stat().st_mode & 0o077 == 0


def test_what_would_leave_too_little_room_is_refused(tmp_path: Path) -> None:
    files = StoreFiles(tmp_path, min_free_bytes=1)
    files.prepare()
    files.require_space(1)
    with pytest.raises(DiskFull):
        files.require_space(1 << 60)
    with pytest.raises(DiskFull):
        StoreFiles(tmp_path, min_free_bytes=1 << 60).require_space()
