"""Starts and supervises the two kinds of processes: one encoder, and gunicorn with its workers.

The launcher owns the listening socket, so a gunicorn that died is replaced without a refused
connection. It waits for signals and for its children, and listens to the encoder, which it ends when
that is stuck. It works as PID 1 of a container: children of dead children are reaped.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from model.runtimes.allocation import ALLOCATION
from model.transport.watch import EncoderWatch
from serving.config.exit_status import ExitStatus
from serving.config.groups import SharedFolders
from serving.config.settings import Settings
from serving.processes.child import END, SIGNALS
from serving.processes.child_environment import encoder_environment, http_environment
from serving.processes.handover import EncoderStart, HttpStart, without_command
from serving.processes.restarts import History, Stop
from serving.processes.supervised import Supervised

log = logging.getLogger(__name__)

KILL_AFTER_S = 5.0
"""Beyond what a child may take to end, before it is killed."""
_LOOK_S = 1.0
"""How often the launcher listens to the encoder."""

_DESCRIPTORS = 1 << 16
"""Descriptors that a process may have open, where the system lets it: each connection is one."""

_MEMORY = "/dev/shm"  # noqa: S108  (a folder of our own is made in it)
_SMALL_FILES_BYTES = 32 << 20

# What a request needs is what the one before it has freed, so glibc keeps that instead of giving back all
# above 128 kB at the end of its heap and mapping each piece of more than 1 MB anew; an idle worker gives it
# back (``serving.front.idle_memory``). One heap for all threads: nothing gives back the end of any but the
# first, and what one thread has let go of would not serve another.
WORKERS_ALLOCATION = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(16 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(32 << 20),
}

_ROOM, _ROOM_WITH_STORE = "serving.processes", "serving.store.predict"
"""Where the HTTP side's main module is: without, and with a slide store whose files are read here."""

_PROVED_S = 10.0
"""gunicorn that lives so long had workers that could start."""


class Launcher:
    """Runs the service until SIGTERM or SIGINT.

    Parameters
    ----------
    settings:
        What to run; each child is given its part of them.
    """

    _children: tuple[Supervised, ...]

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._listener = _listen(settings.http.host, settings.http.listened_port)
        self.port: int = self._listener.getsockname()[1]

    def run(self) -> ExitStatus:
        """Supervise until asked to stop; return the process' exit status."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold tokens and images
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _DESCRIPTORS if most == resource.RLIM_INFINITY else min(most, _DESCRIPTORS)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
        log.info("starting", extra={"port": self.port, "workers": self._settings.http.workers})
        # Nothing is left behind, whatever comes: signals wait until there is somebody to clean up.
        with _folder(_memory_folder()) as small_files, _folder(None) as tables:
            self._plan(small_files, tables)
            try:
                return self._supervise()
            finally:
                for child in self._children:
                    child.kill()

    def _plan(self, small_files: Path, tables: Path) -> None:
        """Define the children. ``small_files`` is in memory where it can be, ``tables`` on a disk."""
        address = str(small_files / "encoder.sock")
        self._metrics = small_files / "metrics"
        self._metrics.mkdir()
        self._watch = EncoderWatch(address)
        launcher, fd, settings = os.getpid(), self._listener.fileno(), self._settings
        # Read by libraries: prometheus_client keeps its numbers there, tempfile makes its files there.
        libraries = {
            "PROMETHEUS_MULTIPROC_DIR": str(self._metrics),
            "TMPDIR": str(small_files),
            "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3"),
        }
        encoder_history = History(runs_model=True)
        self._encoder = Supervised(
            "encoder",
            ALLOCATION | encoder_environment(os.environ) | libraries,
            lambda: EncoderStart(
                launcher, address, settings.encoder, settings.log, restarted=encoder_history.has_died
            ),
            encoder_history,
            end=END,
        )
        shared = SharedFolders(metrics=self._metrics, tables=tables)
        http = HttpStart(
            launcher, fd, address, without_command(settings).model_copy(update={"shared": shared})
        )
        self._http = Supervised(
            "http",
            WORKERS_ALLOCATION | http_environment(os.environ) | libraries,
            lambda: http,
            History(runs_model=False),
            passed_fds=(fd,),
            room=_ROOM_WITH_STORE if settings.slide_store.is_read_here else _ROOM,
        )
        self._children = (self._encoder, self._http)

    def _supervise(self) -> ExitStatus:
        while True:
            now = time.monotonic()
            for child in self._children:
                if child.process is None and now >= child.start_at:
                    self._start(child)
            _import_for_later()
            received = signal.sigtimedwait(SIGNALS, self._next_look(now))
            if received is not None and received.si_signo in (signal.SIGTERM, signal.SIGINT):
                return self._drain()
            if received is not None and received.si_signo == signal.SIGHUP:
                self._http.signal(signal.SIGHUP)
            for child, status in self._reap():
                if (fatal := self._after_death(child, status)) is not None:
                    return fatal
            self._end_if_stuck()

    def _next_look(self, now: float) -> float:
        waits = [c.start_at - now for c in self._children if c.process is None]
        return max(0.0, min([_LOOK_S, *waits]))

    def _start(self, child: Supervised) -> None:
        if child is self._encoder:
            self._watch.reset()
        child.launch()

    def _end_if_stuck(self) -> None:
        if self._encoder.process is None:
            return
        self._watch.listen()
        if self._watch.is_stuck:
            log.error("encoder is stuck and is ended", extra={"pid": self._encoder.process.pid})
            self._encoder.signal(signal.SIGKILL)
            self._watch.reset()

    def _reap(self) -> list[tuple[Supervised, int]]:
        """Collect every child that ended, ours and those inherited as PID 1."""
        ended: list[tuple[Supervised, int]] = []
        by_pid = {c.process.pid: c for c in self._children if c.process is not None}
        with contextlib.suppress(ChildProcessError):
            while (result := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = result
                if pid in by_pid:
                    ended.append((by_pid[pid], os.waitstatus_to_exitcode(status)))
        for child, code in ended:
            if child.process is not None:
                # Popen cannot learn it any more: the process has been waited for.
                child.process.returncode = code
        return ended

    def _after_death(self, child: Supervised, status: int) -> ExitStatus | None:
        """Plan a restart; return an exit status where a restart would not help."""
        assert child.process is not None
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(child.process.pid, path=str(self._metrics))
        verdict = child.history.after_death(status, ran=self._has_run(child))
        if isinstance(verdict, Stop):
            if verdict.reason:
                print(f"pathserve: {verdict.reason}.", file=sys.stderr, flush=True)
            return verdict.status
        child.plan_start(verdict.seconds)
        log.error("%s died", child.name, extra={"exit_status": status, "seconds": verdict.seconds})
        return None

    def _has_run(self, child: Supervised) -> bool:
        """Return whether a child that has ended had run as it should."""
        if child is self._encoder:
            self._watch.listen()  # what it sent before it died is still in the socket
            return self._watch.has_loaded
        return self._has_lived(child)

    @staticmethod
    def _has_lived(child: Supervised) -> bool:
        return time.monotonic() - child.started_at > _PROVED_S

    def _drain(self) -> ExitStatus:
        """Stop accepting, let the workers finish, then end the encoder."""
        log.info("draining")
        self._listener.close()
        self._end(self._http, self._settings.http.grace_s + KILL_AFTER_S)
        self._end(self._encoder, KILL_AFTER_S)
        log.info("stopped")
        return ExitStatus.OK

    def _end(self, child: Supervised, seconds: float) -> None:
        child.signal(child.end)
        deadline = time.monotonic() + seconds
        while child.is_running and (left := deadline - time.monotonic()) > 0:
            self._reap()
            if child.is_running:
                signal.sigtimedwait([signal.SIGCHLD], min(left, 1.0))
        child.kill()


def _import_for_later() -> None:
    """Import what the first death of a child, or its first message, needs.

    At the top it would delay the encoder's start; then, there may be no descriptor left to read a file with.
    """
    import prometheus_client.multiprocess  # noqa: F401

    import model.transport.wire  # noqa: F401


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
