"""A real service on loopback: started by its command, ended by its pid."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import requests

START_TIMEOUT_S = 120.0


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    """Poll a condition until it holds; fail with what was waited for."""
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s} s for {what}")
        pause.wait(0.02)


def samples(exposition: str) -> dict[str, float]:
    """Return the samples of a text in Prometheus' format by their full name."""
    lines = (line.rsplit(" ", 1) for line in exposition.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in lines}


class Service:
    """The whole service as a user starts it.

    Parameters
    ----------
    environment:
        Settings by variable name; the port is always a free one.
    inside:
        A command that the service's is appended to, as ``unshare --fork`` with its options.
    command:
        The service's command, where it is not the one of this environment.
    folder:
        Its working folder, where it is not this process's.
    """

    def __init__(
        self,
        environment: dict[str, str],
        inside: Sequence[str] = (),
        command: Sequence[str] = (sys.executable, "-m", "serving", "serve"),
        folder: Path | None = None,
    ) -> None:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PATHSERVE_", "AIP_"))}
        self._log = tempfile.NamedTemporaryFile("w+b", suffix=".log")  # noqa: SIM115
        self.process = subprocess.Popen(
            [*inside, *command],
            cwd=folder,
            env=inherited | {"AIP_HTTP_PORT": "0"} | environment,
            stdout=self._log,
            stderr=self._log,
        )
        self._inside = bool(inside)
        self.session = requests.Session()
        self.session.trust_env = False
        self._port: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The port that the launcher said it listens on."""
        if self._port is None:
            wait_until(lambda: any("port" in line for line in self.log_lines()), "the launcher's first line")
            self._port = next(line["port"] for line in self.log_lines() if "port" in line)
        return self._port

    @property
    def url(self) -> str:
        """Base address."""
        return f"http://127.0.0.1:{self.port}"

    def log(self) -> str:
        """Everything that the service's processes have written."""
        return Path(self._log.name).read_text(encoding="utf-8")

    def log_lines(self) -> list[dict[str, Any]]:
        """The complete lines of the log, parsed; a line that is no JSON is an error."""
        text = self.log()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def health(self) -> int:
        """Status of the health route; 0 when nobody answers within ten seconds."""
        try:
            return self.session.get(f"{self.url}/health", timeout=10).status_code
        except (requests.ConnectionError, requests.Timeout):
            return 0

    def wait_healthy(self) -> Self:
        """Wait until the service says that it is ready."""

        def ready() -> bool:
            if self.process.poll() is not None:
                raise RuntimeError(f"the service ended with {self.process.returncode}:\n{self.log()}")
            return self.health() == 200

        wait_until(ready, "health", START_TIMEOUT_S)
        return self

    def predict(self, *instances: object, **options: Any) -> requests.Response:
        """POST instances to the predict route."""
        return self.session.post(
            f"{self.url}/predict", json={"instances": list(instances)}, timeout=300, **options
        )

    def metrics(self) -> dict[str, float]:
        """Samples of the metrics route by their full name."""
        return samples(self.session.get(f"{self.url}/metrics", timeout=10).text)

    def launcher(self) -> psutil.Process:
        """The process that was started by the service's command."""
        started = psutil.Process(self.process.pid)
        return started.children()[0] if self._inside else started

    def encoder(self) -> psutil.Process:
        """The encoder process."""
        return next(p for p in self._children() if "serving.processes.encoder" in p.cmdline())

    def gunicorn(self) -> psutil.Process:
        """gunicorn's master process."""
        return next(p for p in self._children() if "serving.processes.http" in p.cmdline())

    def workers(self) -> list[psutil.Process]:
        """gunicorn's worker processes."""
        return self.gunicorn().children()

    def processes(self) -> list[psutil.Process]:
        """Every process of the service."""
        return [self.launcher(), *self.launcher().children(recursive=True)]

    def _children(self) -> Iterator[psutil.Process]:
        for child in self.launcher().children():
            with contextlib.suppress(psutil.NoSuchProcess):
                child.cmdline()
                yield child

    def stop(self, timeout_s: float = 60.0) -> int:
        """End the service with SIGTERM, by its pid; return its exit status."""
        self.session.close()
        if self.process.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess, IndexError):
                self.launcher().send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self._log.close()
        return status
