"""A child of the launcher as a real process; the model named does not exist, so TensorFlow is not started."""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.config.groups import EncoderSettings, LogSettings
from serving.processes.child import END
from serving.processes.handover import EncoderStart
from serving.processes.restarts import BACK_OFF_S, History
from serving.processes.supervised import Supervised


def supervised(folder: Path, environment: dict[str, str], launcher: int) -> Supervised:
    settings = EncoderSettings(model="builtin:none-of-this-name")
    start = EncoderStart(launcher, str(folder / "s"), settings, LogSettings())
    return Supervised("encoder", environment, lambda: start, History(runs_model=True), end=END)


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Supervised]:
    made = supervised(tmp_path, dict(os.environ), os.getpid())
    yield made
    made.kill()


def test_a_child_reads_its_settings_and_ends_with_its_status(
    child: Supervised, capfd: pytest.CaptureFixture[str]
) -> None:
    child.launch()
    assert child.process is not None
    assert child.process.wait(60) == 78
    assert not child.is_running
    assert "pathserve: There is no built-in model 'builtin:none-of-this-name'" in capfd.readouterr().err


def test_nothing_of_it_is_open_here_once_it_has_started(child: Supervised) -> None:
    gc.collect()  # what earlier tests left is not closed in the middle of this one
    before = set(os.listdir("/proc/self/fd"))
    child.launch()
    assert set(os.listdir("/proc/self/fd")) <= before


def test_a_child_whose_launcher_is_gone_ends_before_it_begins(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    child = supervised(tmp_path, dict(os.environ), launcher=1 if os.getpid() != 1 else 2)
    child.launch()
    assert child.process is not None
    assert child.process.wait(60) == 0
    assert "built-in model" not in capfd.readouterr().err


def test_a_child_that_is_killed_is_gone_at_once(child: Supervised) -> None:
    child.launch()
    assert child.process is not None
    child.kill()
    assert child.process.returncode == -signal.SIGKILL
    child.kill()
    child.signal(signal.SIGTERM)  # its process id may be another's by now


def test_a_start_that_the_system_refuses_is_put_off(tmp_path: Path) -> None:
    child = supervised(tmp_path, {"TOO_LONG": "x" * (1 << 20)}, os.getpid())
    gc.collect()  # what earlier tests left is not closed in the middle of this one
    before = set(os.listdir("/proc/self/fd"))
    for attempt in (1, 2, 3):
        earliest = time.monotonic() + BACK_OFF_S[attempt - 1]
        child.launch()
        assert child.process is None
        assert child.history.attempt == attempt
        assert child.start_at >= earliest
    assert set(os.listdir("/proc/self/fd")) <= before
