"""The launcher's rules: what follows from the death of a child. Without processes, signals or clocks."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from serving.config.exit_status import ExitStatus

BACK_OFF_S = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Pauses before the first, second, … start after a death; the last is that of all further starts."""

_GUNICORN_BOOT_ERRORS = (3, 4)
_CRASHES = frozenset({-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS, -signal.SIGFPE, -signal.SIGILL})
_CRASHING_STARTS = 3
"""Starts of the encoder, one after the other, that end in a crash before the model is given up."""


@dataclass(frozen=True, slots=True)
class Restart:
    """The child is to be started again, in so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Stop:
    """The service is to end: starting the child again would not help.

    Attributes
    ----------
    reason:
        Where the child cannot have said it itself.
    """

    status: ExitStatus
    reason: str = ""


class History:
    """What has become of one child's processes so far.

    Parameters
    ----------
    runs_model:
        Whether a crash may be the model's, so that it is given up after a few.

    Attributes
    ----------
    attempt:
        Starts that were put off since the child last ran as it should.
    has_died:
        Whether any of its processes has.
    """

    def __init__(self, *, runs_model: bool) -> None:
        self.attempt = 0
        self.has_died = False
        self._runs_model = runs_model
        # What keeps a child that has run once from starting again may pass, as a lack of memory does.
        self._proved = False
        self._crashes = 0

    def after_death(self, status: int, *, ran: bool) -> Restart | Stop:
        """Return what to do.

        Parameters
        ----------
        status:
            Exit status of the process, or the negated number of the signal that ended it.
        ran:
            Whether it had run as it should.
        """
        if ran:
            self._proved, self.attempt = True, 0
        if not self._proved and (hopeless := self._hopeless(status)):
            return hopeless
        self.has_died = True
        return Restart(self.put_off())

    def put_off(self) -> float:
        """Return in how many seconds the next start shall be: longer each time."""
        seconds = BACK_OFF_S[min(self.attempt, len(BACK_OFF_S) - 1)]
        self.attempt += 1
        return seconds

    def _hopeless(self, status: int) -> Stop | None:
        if status in _GUNICORN_BOOT_ERRORS:
            return Stop(ExitStatus.FAULT, "the HTTP workers cannot start")
        if status == ExitStatus.MISCONFIGURED:
            return Stop(ExitStatus.MISCONFIGURED)  # its sentence is on stderr
        if self._runs_model and status in _CRASHES:
            self._crashes += 1
            if self._crashes == _CRASHING_STARTS:
                name = signal.Signals(-status).name
                return Stop(
                    ExitStatus.MISCONFIGURED, f"the model crashes the encoder ({name}) whenever it is loaded"
                )
        return None
