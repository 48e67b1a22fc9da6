"""One child of the launcher: a process that is started again and again, and ended with its own children."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from serving.processes.handover import Start, hand_over
from serving.processes.restarts import History

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Supervised:
    """A child, of which one process at most runs at a time.

    Attributes
    ----------
    name:
        Its name in the log, and of its main module in ``room``.
    start:
        Makes what the next process is given.
    end:
        The signal that ends it when it has finished what it has begun.
    start_at:
        When to start it (``time.monotonic()``), while it does not run.
    """

    name: str
    environment: dict[str, str]
    start: Callable[[], Start]
    history: History
    end: signal.Signals = signal.SIGTERM
    passed_fds: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    room: str = "serving.processes"

    @property
    def is_running(self) -> bool:
        """Whether there is a process that has not been reaped."""
        return self.process is not None and self.process.returncode is None

    def launch(self) -> None:
        """Start a process; plan another try where the system has no room for one."""
        try:
            fd = hand_over(self.start())
            try:
                self.process = subprocess.Popen(
                    [sys.executable, "-P", "-m", f"{self.room}.{self.name}", str(fd)],
                    env=self.environment,
                    pass_fds=(fd, *self.passed_fds),
                    start_new_session=True,  # Ctrl-C reaches the launcher alone
                )
            finally:
                os.close(fd)
        except OSError as error:  # there is no memory for a process, or no descriptor
            seconds = self.plan_start(self.history.put_off())
            reason = errno.errorcode.get(error.errno or 0, "")
            log.error("%s cannot be started", self.name, extra={"reason": reason, "seconds": seconds})
            return
        self.started_at = time.monotonic()
        log.info("started %s", self.name, extra={"pid": self.process.pid, "attempt": self.history.attempt})

    def plan_start(self, seconds: float) -> float:
        """Let the next process start in so many seconds, which are returned."""
        self.process = None
        self.start_at = time.monotonic() + seconds
        return seconds

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it runs."""
        if self.process is not None and self.is_running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, number)

    def kill(self) -> None:
        """End the process and its own children at once, if they still run."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        if self.is_running:
            with contextlib.suppress(ChildProcessError):
                self.process.wait()
