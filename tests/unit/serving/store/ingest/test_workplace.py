from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from serving.store.ingest.outcome import Door, Origin
from serving.store.ingest.workplace import Due, Workplace, clear_abandoned

DUE = Due("instances/1/2/3.ab.dcm", Origin(Door.STOW, "t-1"))

DIES = """
import os, signal, sys
from pathlib import Path
from serving.store.ingest.outcome import Door, Origin
from serving.store.ingest.workplace import Due, Workplace
place = Workplace(Path(sys.argv[1]))
place.new_path().write_bytes(b"half")
with place.due(Due(sys.argv[2], Origin(Door.STOW, "t-1"))):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(incoming: Path) -> None:
    subprocess.run([sys.executable, "-c", DIES, incoming, DUE.place], timeout=60, check=False)


def files(incoming: Path) -> list[Path]:
    return [path for path in incoming.rglob("*") if path.is_file() and path.suffix != ".lock"]


def never(due: Due) -> None:
    raise AssertionError(due)


def test_what_a_killed_process_left_is_removed_and_what_was_due_is_finished(tmp_path: Path) -> None:
    killed(tmp_path)
    assert len(files(tmp_path)) == 2
    finished: list[Due] = []
    assert clear_abandoned(tmp_path, finished.append) == 1
    assert finished == [DUE]
    assert list(tmp_path.iterdir()) == []
    assert clear_abandoned(tmp_path, finished.append) == 0


def test_a_living_process_keeps_its_folder(tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    place.new_path().write_bytes(b"half")
    assert clear_abandoned(tmp_path, never) == 0
    assert len(files(tmp_path)) == 1
    place.close()
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_finished_now_stays_due(tmp_path: Path) -> None:
    killed(tmp_path)

    def lost(_: Due) -> None:
        raise ConnectionError("the index is away")

    with pytest.raises(ConnectionError):
        clear_abandoned(tmp_path, lost)
    finished: list[Due] = []
    clear_abandoned(tmp_path, finished.append)
    assert finished == [DUE]


@pytest.mark.parametrize("note", [b"", b"{", b"{}", b"[]", b'{"place": "x"}', DUE.encoded()[:-3]])
def test_a_note_that_was_cut_off_is_none(tmp_path: Path, note: bytes) -> None:
    killed(tmp_path)
    (path,) = tmp_path.rglob("*.due")
    path.write_bytes(note)
    assert clear_abandoned(tmp_path, never) == 1


def test_a_block_that_fails_leaves_its_note_for_the_next_start(tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    with pytest.raises(OSError, match="lost"), place.due(DUE):
        raise OSError("lost")
    assert [path.suffix for path in files(tmp_path)] == [".due"]
    with place.due(DUE):
        assert len(files(tmp_path)) == 2
    assert len(files(tmp_path)) == 1
    place.close()
    finished: list[Due] = []
    assert clear_abandoned(tmp_path, finished.append) == 1
    assert finished == [DUE]
