"""Starts and supervises the two kinds of processes: one encoder, and gunicorn with its workers.

The launcher owns the listening socket, so a gunicorn that died is replaced without a refused
connection. It waits for signals and for its children, and listens to the encoder, which it ends when
that is stuck. It works as PID 1 of a container: children of dead children are reaped.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import multiprocess

from model.encoder import EXIT_BAD_MODEL
from model.transport.watch import EncoderWatch
from serving.config.settings import EXIT_BAD_SETTING, Settings, SettingsError
from serving.processes.child import END, SIGNALS
from serving.processes.child_environment import encoder_environment, http_environment

log = logging.getLogger(__name__)

_BACK_OFF_S = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
_KILL_AFTER_S = 5.0
_LOOK_S = 1.0
"""How often the launcher listens to the encoder."""

_DESCRIPTORS = 1 << 16
"""Descriptors that a process may have open, where the system lets it: each connection is one."""

_MEMORY = "/dev/shm"  # noqa: S108  (a folder of our own is made in it)
_SMALL_FILES_BYTES = 32 << 20

# Images of a few MB come and go in many threads: without these, glibc keeps what each has let go of.
_ALLOCATION = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}

_GUNICORN_BOOT_ERRORS = (3, 4)
_HOPELESS = {
    EXIT_BAD_MODEL: EXIT_BAD_MODEL,
    EXIT_BAD_SETTING: EXIT_BAD_SETTING,
    **dict.fromkeys(_GUNICORN_BOOT_ERRORS, 1),
}
"""Exit status of the service by that of a child that could not start; but what has run may run again."""

_CRASHES = frozenset({-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS, -signal.SIGFPE, -signal.SIGILL})
_CRASHING_STARTS = 3
"""Starts of the encoder, one after the other, that end in a crash before the model is given up."""

_PROVED_S = 10.0
"""gunicorn that lives so long had workers that could start."""


@dataclass(slots=True)
class _Child:
    """One supervised process.

    Attributes
    ----------
    end:
        The signal that ends it when it has finished what it has begun.
    attempt:
        Deaths since it last ran as it should.
    start_at:
        When to start it (``time.monotonic()``), while it does not run.
    proved:
        Whether it has run as it should: what keeps it from starting again may pass, as a lack of memory does.
    """

    name: str
    arguments: list[str]
    environment: dict[str, str]
    end: signal.Signals = signal.SIGTERM
    passed_fds: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    attempt: int = 0
    ever_died: bool = False
    proved: bool = False
    crashes: int = 0

    def put_off(self, now: float) -> float:
        """Plan the next start; return in how many seconds that will be."""
        delay = _BACK_OFF_S[min(self.attempt, len(_BACK_OFF_S) - 1)]
        self.attempt += 1
        self.start_at = now + delay
        return delay


class Launcher:
    """Runs the service until SIGTERM or SIGINT.

    Parameters
    ----------
    settings:
        What to run. The children read the same environment.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._listener = _listen(settings.host, settings.port)
        self.port: int = self._listener.getsockname()[1]

    def run(self) -> int:
        """Supervise until asked to stop; return the process' exit status."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold tokens and images
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _DESCRIPTORS if most == resource.RLIM_INFINITY else min(most, _DESCRIPTORS)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
        log.info("starting", extra={"port": self.port, "workers": self._settings.workers})
        # Nothing is left behind, whatever comes: signals wait until there is somebody to clean up.
        with _folder(_memory_folder()) as small_files, _folder(None) as tables:
            self._plan(small_files, tables)
            try:
                return self._supervise()
            finally:
                for child in (self._http, self._encoder):
                    self._kill(child)

    def _plan(self, small_files: Path, tables: Path) -> None:
        """Say what the children are."""
        address = str(small_files / "encoder.sock")
        self._metrics = small_files / "metrics"
        self._metrics.mkdir()
        self._watch = EncoderWatch(address)
        added = {
            "PROMETHEUS_MULTIPROC_DIR": str(self._metrics),
            "PATHSERVE_TABLES_DIR": str(tables),
            "TMPDIR": str(small_files),
            "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3"),
        }
        self._encoder = _Child(
            "encoder",
            _encoder_arguments(self._settings, address),
            encoder_environment(os.environ) | added,
            end=END,
        )
        fd = self._listener.fileno()
        http = [
            sys.executable, "-P", "-m", "serving.processes.http",
            "--listener", str(fd), "--encoder", address, "--parent", str(os.getpid()),
        ]  # fmt: skip
        self._http = _Child(
            "http", http, _ALLOCATION | http_environment(os.environ) | added, passed_fds=(fd,)
        )

    def _supervise(self) -> int:
        while True:
            now = time.monotonic()
            for child in (self._encoder, self._http):
                if child.process is None and now >= child.start_at:
                    self._start(child)
            received = signal.sigtimedwait(SIGNALS, self._next_look(now))
            if received is not None and received.si_signo in (signal.SIGTERM, signal.SIGINT):
                return self._drain()
            if received is not None and received.si_signo == signal.SIGHUP:
                _signal(self._http, signal.SIGHUP)
            for child, status in self._reap():
                if (fatal := self._after_death(child, status)) is not None:
                    return fatal
            if self._encoder.process is not None:
                self._watch.listen()
                if self._watch.is_stuck:
                    log.error("encoder is stuck and is ended", extra={"pid": self._encoder.process.pid})
                    _signal(self._encoder, signal.SIGKILL)
                    self._watch.reset()

    def _next_look(self, now: float) -> float:
        waits = [c.start_at - now for c in (self._encoder, self._http) if c.process is None]
        return max(0.0, min([_LOOK_S, *waits]))

    def _start(self, child: _Child) -> None:
        arguments = child.arguments
        if child is self._encoder:
            self._watch.reset()
        if child is self._encoder and child.ever_died:
            arguments = [*arguments, "--restarted"]
        try:
            child.process = subprocess.Popen(
                arguments,
                env=child.environment,
                pass_fds=child.passed_fds,
                start_new_session=True,  # Ctrl-C reaches the launcher alone
            )
        except OSError as error:  # there is no memory for a process, or no descriptor
            reason = errno.errorcode.get(error.errno or 0, "")
            seconds = child.put_off(time.monotonic())
            log.error("%s cannot be started", child.name, extra={"reason": reason, "seconds": seconds})
            return
        child.started_at = time.monotonic()
        log.info("started %s", child.name, extra={"pid": child.process.pid, "attempt": child.attempt})

    def _reap(self) -> list[tuple[_Child, int]]:
        """Collect every child that ended, ours and those inherited as PID 1."""
        ended: list[tuple[_Child, int]] = []
        by_pid = {c.process.pid: c for c in (self._encoder, self._http) if c.process is not None}
        with contextlib.suppress(ChildProcessError):
            while (result := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = result
                if pid in by_pid:
                    ended.append((by_pid[pid], os.waitstatus_to_exitcode(status)))
        for child, code in ended:
            if child.process is not None:
                child.process.returncode = code
        return ended

    def _after_death(self, child: _Child, status: int) -> int | None:
        """Plan a restart; return an exit status where a restart would not help."""
        assert child.process is not None
        now = time.monotonic()
        ran = now - child.started_at > _PROVED_S
        if child is self._encoder:
            multiprocess.mark_process_dead(child.process.pid, path=str(self._metrics))
            self._watch.listen()  # the last messages of a short life may still be unread
            ran = self._watch.has_loaded
        if ran:
            child.proved, child.attempt = True, 0
        if not child.proved and status in _HOPELESS:
            if status in _GUNICORN_BOOT_ERRORS:
                log.error("the HTTP workers cannot start", extra={"exit_status": status})
            return _HOPELESS[status]
        if child is self._encoder and not child.proved and status in _CRASHES:
            child.crashes += 1
            if child.crashes == _CRASHING_STARTS:
                name = signal.Signals(-status).name
                raise SettingsError(f"the model crashes the encoder ({name}) whenever it is loaded.")
        child.process, child.ever_died = None, True
        delay = child.put_off(now)
        log.error("%s died", child.name, extra={"exit_status": status, "seconds": delay})
        return None

    def _drain(self) -> int:
        """Stop accepting, let the workers finish, then end the encoder."""
        log.info("draining")
        self._listener.close()
        self._end(self._http, self._settings.grace_s + _KILL_AFTER_S)
        self._end(self._encoder, _KILL_AFTER_S)
        log.info("stopped")
        return 0

    def _end(self, child: _Child, seconds: float) -> None:
        _signal(child, child.end)
        deadline = time.monotonic() + seconds
        while child.process is not None and child.process.returncode is None:
            self._reap()
            left = deadline - time.monotonic()
            if child.process.returncode is not None or left <= 0:
                break
            signal.sigtimedwait([signal.SIGCHLD], min(left, 1.0))
        self._kill(child)

    def _kill(self, child: _Child) -> None:
        """End a child and its own children at once, if they still run."""
        if child.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.process.pid, signal.SIGKILL)
        if child.process.returncode is None:
            with contextlib.suppress(ChildProcessError):
                child.process.wait()


def _signal(child: _Child, number: signal.Signals) -> None:
    if child.process is not None and child.process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.process.pid, number)


@contextlib.contextmanager
def _folder(parent: str | None) -> Iterator[Path]:
    """Make a folder, and remove it at the end."""
    path = Path(tempfile.mkdtemp(prefix="pathserve-", dir=parent))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _memory_folder() -> str | None:
    """Return where metrics and other small files shall be: a disk that others fill up must not end workers.

    Metrics are mapped into memory, so that writing them where there is no room is a bus error.
    """
    try:
        space = os.statvfs(_MEMORY)
    except OSError:
        return None
    roomy = space.f_bavail * space.f_frsize >= _SMALL_FILES_BYTES
    return _MEMORY if roomy and os.access(_MEMORY, os.W_OK | os.X_OK) else None


def _encoder_arguments(settings: Settings, address: str) -> list[str]:
    arguments = [
        sys.executable, "-P", "-m", "serving.processes.encoder",
        "--address", address, "--parent", str(os.getpid()),
        "--model", settings.model_spec,
        "--precision", settings.precision, "--runtime", settings.runtime,
        "--max-wait-ms", str(settings.max_wait_ms),
        "--log-level", settings.log_level,
    ]  # fmt: skip
    if settings.cache_dir is not None:
        arguments += ["--cache", str(settings.cache_dir)]
    if settings.max_batch is not None:
        arguments += ["--max-batch", str(settings.max_batch)]
    return arguments


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    listener.listen(2048)
    return listener
