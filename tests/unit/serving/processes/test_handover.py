"""Settings on their way to a child: whole, read once, and without what is not the child's."""

from __future__ import annotations

import errno
import math
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from serving.config.groups import SharedFolders
from serving.config.settings import Settings, load_settings
from serving.processes.handover import EncoderStart, HttpStart, hand_over, take_over, without_command

SECRET = "planted-secret-0123"
ODD_PATH = os.fsdecode(b"/tmp/caf\xe9")


@pytest.fixture
def settings() -> Settings:
    names = ("PATHSERVE_API_KEYS", "PATHSERVE_API_KEY", "PATHSERVE_STORE_TOKEN")
    odd = {"PATHSERVE_KEEP_ALIVE_S": "inf", "PATHSERVE_CACHE_DIR": ODD_PATH, "PATHSERVE_WORKERS": "3"}
    return load_settings(environment=dict.fromkeys(names, SECRET) | odd)


def test_what_is_taken_over_is_what_was_handed_over(settings: Settings) -> None:
    shared = SharedFolders(metrics=Path("/m"), tables=Path("/t"))
    start = HttpStart(1, 2, "/s", settings.model_copy(update={"shared": shared}))
    found = take_over(HttpStart, hand_over(start))
    assert found == start
    assert found.settings.http.keep_alive_s == math.inf
    assert str(found.settings.encoder.cache_dir) == ODD_PATH
    assert found.settings.http.api_keys is not None
    assert [key.get_secret_value() for key in found.settings.http.api_keys] == [SECRET]


def test_a_descriptor_is_closed_once_it_has_been_read(settings: Settings) -> None:
    fd = hand_over(EncoderStart(1, "/s", settings.encoder, settings.log))
    take_over(EncoderStart, fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_a_descriptor_is_closed_when_there_is_no_memory_to_write_to_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dump(*_: object) -> None:
        raise OSError(errno.ENOMEM, "no memory")

    monkeypatch.setattr(pickle, "dump", dump)
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="no memory"):
        hand_over(EncoderStart(1, "/s", settings.encoder, settings.log))
    assert set(os.listdir("/proc/self/fd")) <= before


def test_no_secret_is_handed_to_the_encoder(settings: Settings) -> None:
    fd = hand_over(EncoderStart(1, "/s", settings.encoder, settings.log))
    with open(fd, "rb") as file:
        assert SECRET.encode() not in file.read()


def test_workers_are_handed_the_services_keys_and_none_of_the_commands(settings: Settings) -> None:
    kept = without_command(settings)
    assert (kept.command.store_token, kept.command.api_key) == (None, None)
    assert (kept.http, kept.stores, kept.images) == (settings.http, settings.stores, settings.images)


def test_another_process_takes_over(settings: Settings) -> None:
    fd = hand_over(EncoderStart(7, "/s", settings.encoder, settings.log, restarted=True))
    code = (
        "import sys; from serving.processes.handover import EncoderStart, take_over;"
        "start = take_over(EncoderStart, int(sys.argv[1]));"
        "print(start.launcher, start.address, start.restarted, ascii(str(start.encoder.cache_dir)))"
    )
    try:
        run = subprocess.run(
            [sys.executable, "-P", "-c", code, str(fd)], pass_fds=(fd,), capture_output=True, text=True,
            check=True,
        )  # fmt: skip
    finally:
        os.close(fd)
    assert run.stdout.split(maxsplit=3) == ["7", "/s", "True", f"{ODD_PATH!a}\n"]
