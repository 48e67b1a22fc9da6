from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from serving.config.settings import SettingsError
from serving.store.doors.seen import SeenFiles
from serving.store.doors.taking import FileTaker
from serving.store.doors.watch import WatchedFolder, require_watchable
from serving.store.ingest.outcome import Door, Origin, Verdict
from tests.support.slides import pyramid
from tests.support.store_ingest import OpenStore

QUIET_S = 10.0


class Watch:
    """A watched folder whose clock is ours."""

    def __init__(self, folder: Path, store: OpenStore, *, removes: bool = False) -> None:
        self.now = 0.0
        self.folder = folder
        self.watched = WatchedFolder(
            folder,
            FileTaker(store.ingest, None, Origin(Door.WATCH, "watch")),
            SeenFiles(store.folder / "seen"),
            quiet_s=QUIET_S,
            removes=removes,
            clock=lambda: self.now,
        )

    def look(self, after: float = 0.0) -> list[Verdict]:
        self.now += after
        return [outcome.verdict for outcome in self.watched.look()]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[OpenStore]:
    store = OpenStore(tmp_path / "store")
    yield store
    store.close()


@pytest.fixture
def watch(tmp_path: Path, store: OpenStore) -> Watch:
    (tmp_path / "watched").mkdir()
    return Watch(tmp_path / "watched", store)


def slide() -> bytes:
    made = pyramid("JPEG", [(256, 256)], BurnedInAnnotation="NO", SpecimenLabelInImage="NO")
    return made.instances[0].file()


def test_a_file_is_taken_in_once_after_it_has_come_to_rest(watch: Watch, store: OpenStore) -> None:
    (watch.folder / "Doe^Jane.dcm").write_bytes(slide())
    assert watch.look() == []
    assert watch.look(QUIET_S / 2) == []
    assert watch.look(QUIET_S) == [Verdict.STORED]
    assert watch.look(QUIET_S) == watch.look(QUIET_S) == []
    assert len(store.indexed()) == 1
    assert (watch.folder / "Doe^Jane.dcm").exists()


def test_a_file_that_grows_for_a_minute_is_taken_in_once_when_it_is_whole(
    watch: Watch, store: OpenStore
) -> None:
    data = slide()
    path = watch.folder / "slide.dcm"
    for second in range(60):
        with path.open("ab") as file:
            file.write(data[len(data) * second // 60 : len(data) * (second + 1) // 60])
        assert watch.look(1.0) == []
    assert watch.look(QUIET_S) == [Verdict.STORED]
    assert watch.look(QUIET_S) == []
    assert store.arrivals() == []


def test_a_folder_that_is_moved_in_is_taken_in_with_its_subfolders(watch: Watch, tmp_path: Path) -> None:
    outside = tmp_path / "outside/deep/er"
    outside.mkdir(parents=True)
    for number in range(3):
        (outside / f"{number}").write_bytes(slide())
        os.utime(outside / f"{number}", (1, 1))  # they are old where they come from
    (tmp_path / "outside").rename(watch.folder / "moved")
    assert watch.look() == []
    assert watch.look(QUIET_S) == [Verdict.STORED] * 3
    assert watch.look(QUIET_S) == []


def test_symbolic_links_are_never_followed(watch: Watch, store: OpenStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "slide.dcm").write_bytes(slide())
    (watch.folder / "link.dcm").symlink_to(secret / "slide.dcm")
    (watch.folder / "folder").symlink_to(secret)
    (watch.folder / "loop").symlink_to(watch.folder)
    os.mkfifo(watch.folder / "pipe")
    watch.look()
    assert watch.look(QUIET_S) == []
    assert store.files() == []


def test_moving_removes_a_file_once_the_store_has_it_and_no_other(tmp_path: Path, store: OpenStore) -> None:
    folder = tmp_path / "watched"
    folder.mkdir()
    watch = Watch(folder, store, removes=True)
    (folder / "good.dcm").write_bytes(slide())
    (folder / "bad.txt").write_bytes(b"no DICOM")
    watch.look()
    assert sorted(watch.look(QUIET_S), key=str) == [Verdict.REFUSED, Verdict.STORED]
    assert [path.name for path in folder.iterdir()] == ["bad.txt"]
    assert watch.look(QUIET_S) == watch.look(QUIET_S) == [], "the refused one is not tried again"


def test_a_restart_takes_nothing_in_again_and_what_has_changed_anew(watch: Watch, store: OpenStore) -> None:
    (watch.folder / "good.dcm").write_bytes(slide())
    (watch.folder / "bad.dcm").write_bytes(b"no DICOM")
    watch.look()
    assert len(watch.look(QUIET_S)) == 2
    restarted = Watch(watch.folder, store)
    restarted.look()
    assert restarted.look(QUIET_S) == []
    (watch.folder / "bad.dcm").write_bytes(slide())
    restarted.look()
    assert restarted.look(QUIET_S) == [Verdict.STORED]


def test_no_name_is_kept_or_written_down(
    watch: Watch, store: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    (watch.folder / "Planted^Patient.dcm").write_bytes(slide())
    (watch.folder / "Planted^Patient.txt").write_bytes(b"no DICOM")
    watch.look()
    assert len(watch.look(QUIET_S)) == 2
    kept = [
        path.read_bytes()
        for path in store.folder.rglob("*")
        if path.is_file() and "instances" not in str(path)
    ]
    assert not [data for data in kept if b"Planted" in data]
    assert "Planted" not in caplog.text
    assert not [path for path in store.folder.rglob("*") if "Planted" in path.name]


def test_a_folder_that_is_away_for_a_while_is_watched_again(tmp_path: Path, store: OpenStore) -> None:
    watch = Watch(tmp_path / "mount", store)
    assert watch.look() == []
    watch.folder.mkdir()
    (watch.folder / "slide").write_bytes(slide())
    watch.look()
    assert watch.look(QUIET_S) == [Verdict.STORED]


def test_a_full_disk_is_waited_out(watch: Watch, store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    (watch.folder / "slide").write_bytes(slide())
    with monkeypatch.context() as full:
        full.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=-1))
        watch.look()
        assert watch.look(QUIET_S) == [Verdict.REFUSED]
    watch.look()
    assert watch.look(QUIET_S) == [Verdict.STORED]


def test_a_file_that_cannot_be_read_keeps_no_other_waiting(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b", "c"):
        (watch.folder / name).write_bytes(slide())
    link = os.link

    def forbidden(name: str, *others: Any, **more: Any) -> None:
        if name == "b":
            raise PermissionError(errno.EACCES, "Permission denied")
        link(name, *others, **more)

    with monkeypatch.context() as some:
        some.setattr(os, "link", forbidden)
        watch.look()
        assert watch.look(QUIET_S) == [Verdict.STORED] * 2
        assert "cannot be read: Permission denied" in caplog.text
    watch.look()
    assert watch.look(QUIET_S) == [Verdict.STORED]


def test_a_file_that_cannot_be_looked_at_is_not_named_and_keeps_no_other_waiting(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "Planted^Patient", "z"):
        (watch.folder / name).write_bytes(slide())
    look = os.stat

    def forbidden(name: Any, *others: Any, **more: Any) -> os.stat_result:
        if name == "Planted^Patient":
            raise PermissionError(errno.EACCES, "Permission denied", name)
        return look(name, *others, **more)

    monkeypatch.setattr(os, "stat", forbidden)
    watch.look()
    assert watch.look(QUIET_S) == [Verdict.STORED] * 2
    assert "Permission denied" in caplog.text
    assert "Planted" not in caplog.text


def test_a_file_that_cannot_be_removed_is_taken_in_once(
    store: OpenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "share").mkdir()
    watch = Watch(tmp_path / "share", store, removes=True)
    (watch.folder / "Planted^Patient").write_bytes(slide())
    unlink = os.unlink

    def read_only(name: Any, *others: Any, **more: Any) -> None:
        if name == "Planted^Patient":
            raise OSError(errno.EROFS, "Read-only file system", name)
        unlink(name, *others, **more)

    monkeypatch.setattr(os, "unlink", read_only)
    watch.look()
    assert watch.look(QUIET_S) == [Verdict.STORED]
    assert watch.look(QUIET_S) == watch.look(QUIET_S) == []
    assert "cannot be removed" in caplog.text
    assert "Planted" not in caplog.text


def test_a_fault_at_one_file_keeps_no_other_waiting(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b", "c"):
        (watch.folder / name).write_bytes(slide())
    take = watch.watched._taker.take

    def faulty(name: str, folder_fd: int) -> Any:
        if name == "b":
            raise ValueError("Planted")
        return take(name, folder_fd)

    monkeypatch.setattr(watch.watched._taker, "take", faulty)
    watch.look()
    assert watch.look(QUIET_S) == [Verdict.STORED] * 2
    assert "cannot be taken in: ValueError" in caplog.text
    assert "Planted" not in caplog.text


def test_it_ends_when_told_to(watch: Watch) -> None:
    stopped = threading.Event()
    thread = threading.Thread(target=watch.watched.run, args=(stopped,))
    thread.start()
    stopped.set()
    thread.join(60)
    assert not thread.is_alive()


@pytest.mark.parametrize("where", ["store", "store/instances", ".", "missing"])
def test_the_store_does_not_watch_itself_nor_what_is_not_there(
    tmp_path: Path, store: OpenStore, where: str
) -> None:
    with pytest.raises(SettingsError, match="PATHSERVE_STORE_WATCH"):
        require_watchable(tmp_path / where, store.folder)
