"""What can go wrong around a service, at the touch of a function."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import psutil

from tests.soak.clients import Sample
from tests.support.container import environment_of, fill, like_a_container
from tests.support.models import probe
from tests.support.service import Service, wait_until
from tests.support.slides import Slide, pyramid
from tests.support.store import Answer, Request, Store

_DAY_S = 86_400
_JUMPS_S = (365 * _DAY_S, -400 * _DAY_S, 3600, -7200, 0)

_LOADED_S = 20.0
_TOO_LITTLE = 2 << 30
"""Bytes of address space that TensorFlow cannot start in."""

Fault = Callable[[random.Random], None]


def _pause(chance: random.Random) -> None:
    threading.Event().wait(chance.uniform(0.5, 5))


class Surroundings:
    """A service whose disk, clock and store can be made to fail.

    Attributes
    ----------
    faults:
        What can be done to it, by name. Each comes back when the cause is gone.
    slide_samples:
        Requests whose pixels come from the store.
    """

    def __init__(self, model: str) -> None:
        self._slide = pyramid("JPEG", [(2000, 1500)])
        self._store = Store(self._slide)
        self._disk = tempfile.TemporaryDirectory()
        self._clock = Clock()
        environment = {
            "PATHSERVE_MODEL": model,
            "PATHSERVE_FRAME_CACHE_BYTES": "0",  # the store is asked each time
        } | self._clock.environment
        folder = Path(self._disk.name)
        self.service = Service(environment | environment_of(folder), inside=like_a_container(folder, "8m"))
        self.slide_samples: list[Sample] = []
        self.faults: dict[str, Fault] = {
            "encoder killed": self._kill_encoder,
            "worker killed": self._kill_worker,
            "gunicorn killed": self._kill_gunicorn,
            "encoder paused": self._pause_encoder,
            "encoder stuck": self._stick_encoder,
            "worker paused": self._pause_worker,
            "workers reloaded": self._reload,
            "encoder ended, no memory for its successor": self._starve_encoder,
            "slab's descriptor lost": self._lose_descriptors,
            "disk full, then a worker and the encoder killed": self._fill_disk,
            "store lost": self._lose_store,
            "clock jumped": self._jump_clock,
        }

    def __enter__(self) -> Self:
        self._store.__enter__()
        self.slide_samples = [_slide_sample(self._store, self._slide, number) for number in range(4)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.service.stop()
        self._store.__exit__(kind, error, trace)
        self._clock.close()
        self._disk.cleanup()

    def _kill_encoder(self, _: random.Random) -> None:
        self.service.encoder().kill()

    def _kill_worker(self, chance: random.Random) -> None:
        chance.choice(self.service.workers()).kill()

    def _kill_gunicorn(self, _: random.Random) -> None:
        self.service.gunicorn().kill()

    def _pause_encoder(self, chance: random.Random) -> None:
        with _suspended(self.service.encoder()):
            _pause(chance)

    def _stick_encoder(self, _: random.Random) -> None:
        stuck = self.service.encoder()
        if time.time() - stuck.create_time() < _LOADED_S:
            raise StopIteration  # one that still loads its model is not watched
        stuck.suspend()
        wait_until(lambda: not stuck.is_running(), "the watchdog", 60)

    def _pause_worker(self, chance: random.Random) -> None:
        with _suspended(chance.choice(self.service.workers())):
            _pause(chance)

    def _reload(self, _: random.Random) -> None:
        self.service.launcher().send_signal(signal.SIGHUP)

    def _starve_encoder(self, chance: random.Random) -> None:
        """End the encoder, as the system does without memory; its successor has too little, too."""
        with _limited(self.service.launcher(), psutil.RLIMIT_AS, _TOO_LITTLE):
            self.service.encoder().kill()
            failed = self.service.log().count("encoder died") + 2
            wait_until(lambda: self.service.log().count("encoder died") >= failed, "the successor's end", 60)
            _pause(chance)

    def _lose_descriptors(self, chance: random.Random) -> None:
        encoder = self.service.encoder()
        with _limited(encoder, psutil.RLIMIT_NOFILE, encoder.num_fds()):
            chance.choice(self.service.workers()).kill()  # its successor's slab does not arrive
            _pause(chance)

    def _fill_disk(self, chance: random.Random) -> None:
        filler = Path(f"/proc/{self.service.launcher().pid}/root{self._disk.name}/filler")
        fill(filler)
        try:
            chance.choice(self.service.workers()).kill()
            self.service.encoder().kill()
            wait_until(lambda: self.service.health() == 200, "health with a full disk", 90)
        finally:
            filler.unlink()

    def _lose_store(self, chance: random.Random) -> None:
        self._store.behaviour.override = _cut_off
        _pause(chance)
        self._store.behaviour.override = None

    def _jump_clock(self, chance: random.Random) -> None:
        self._clock.shift(chance.choice(_JUMPS_S))
        _pause(chance)


class Clock:
    """The wall clock of the processes that run with ``environment``; ``clock.c`` is compiled for it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        library, self._file = Path(self._folder.name, "clock.so"), Path(self._folder.name, "shift")
        source = Path(__file__).with_name("clock.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-Wall", "-o", library, source], check=True)
        self.shift(0)
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_SHIFT_FILE": str(self._file)}

    def shift(self, seconds: int) -> None:
        """Let the clock go so far ahead, or behind, from now on."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("=q", seconds))

    def close(self) -> None:
        """Remove the files."""
        self._folder.cleanup()


@contextlib.contextmanager
def _suspended(process: psutil.Process) -> Iterator[None]:
    process.suspend()
    try:
        yield
    finally:
        process.resume()


@contextlib.contextmanager
def _limited(process: psutil.Process, resource: int, amount: int) -> Iterator[None]:
    usual = process.rlimit(resource)
    process.rlimit(resource, (amount, usual[1]))
    try:
        yield
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.rlimit(resource, usual)


def _cut_off(_: Request) -> Answer:
    """Promise more than is sent, and hang up."""
    headers = {"Content-Type": "multipart/related; boundary=x", "Content-Length": "100000"}
    return 200, headers, b"--x\r\nContent-Type: application/octet-stream\r\n\r\n"


def _slide_sample(store: Store, slide: Slide, number: int) -> Sample:
    (level,) = slide.instances
    origins = [((97 * number + 61 * i) % 1776, (131 * number + 43 * i) % 1276) for i in range(12)]
    path = {"series_path": store.series_path(slide), "instance_uids": [level.uid]}
    coordinates = [{"x_origin": x, "y_origin": y} for x, y in origins]
    body = json.dumps({"instances": [{"dicom_path": path, "patch_coordinates": coordinates}]}).encode()
    patches = np.stack([level.truth[y : y + 224, x : x + 224] for x, y in origins])
    return Sample(body, probe(patches), of_store=True)
