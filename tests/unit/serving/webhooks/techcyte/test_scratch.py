from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from serving.config.settings import Settings, SettingsError, load_settings
from serving.webhooks.techcyte.faults import ScanError
from serving.webhooks.techcyte.scratch import Scratch

HOLDER = """
import sys
from pathlib import Path
from serving.config.settings import load_settings
from serving.webhooks.techcyte.scratch import Scratch
with Scratch(load_settings({"PATHSERVE_TECHCYTE_FOLDER": sys.argv[1]}, {})).task() as folder:
    (folder.path / "slide.svs").write_bytes(b"a patient's")
    print(folder.path, flush=True)
    sys.stdin.read()
"""


def settings(root: Path, **more: object) -> Settings:
    return load_settings({"PATHSERVE_TECHCYTE_FOLDER": root, **more}, {})


def test_a_tasks_folder_is_its_own_and_gone_at_the_end_however_that_comes(tmp_path: Path) -> None:
    scratch = Scratch(settings(tmp_path))

    def work() -> None:
        with scratch.task() as one, scratch.task() as other:
            assert one.path != other.path
            assert one.path.stat().st_mode & 0o077 == 0, "for the service's user alone"
            (one.folder("scan-1") / "slide.svs").write_bytes(b"pixels")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_what_a_killed_process_has_left_is_removed_and_what_another_uses_is_not(tmp_path: Path) -> None:
    command = (sys.executable, "-c", HOLDER, str(tmp_path))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        held = Path(holder.stdout.readline().strip())
        with Scratch(settings(tmp_path)).task() as mine:
            (tmp_path / "pathserve-task-without-lock").mkdir()
            (tmp_path / "task-another").mkdir()
            assert Scratch(settings(tmp_path)).clear() == 1, "the one whose maker was killed at once"
            assert (held / "slide.svs").exists()
            holder.send_signal(signal.SIGKILL)
            holder.wait(60)
            assert Scratch(settings(tmp_path)).clear() == 1
            assert not held.exists()
            assert mine.path.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "task-another"]


def test_room_that_is_given_back_can_be_used_again(tmp_path: Path) -> None:
    more = {"PATHSERVE_TECHCYTE_MAX_TASK_BYTES": 100, "PATHSERVE_TECHCYTE_KEEP_FREE_BYTES": 0}
    with Scratch(settings(tmp_path, **more)).task() as folder:
        folder.take(60)
        folder.give_back(20)
        folder.take(60)
        with pytest.raises(ScanError, match="more than 100 bytes"):
            folder.take(1)


@pytest.mark.parametrize("place", ["file/below", "file"])
def test_a_folder_that_cannot_be_used_stops_the_start(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="PATHSERVE_TECHCYTE_FOLDER"):
        Scratch(settings(tmp_path / place))


def test_a_relative_folder_is_no_setting() -> None:
    with pytest.raises(SettingsError, match="absolute"):
        settings(Path("slides"))
