"""What a child process of the launcher does first."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import TypeVar

from serving.processes.handover import Start, take_over

_PR_SET_PDEATHSIG = 1
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
"""Signals that the launcher waits for, and its children therefore begin with blocked."""

END = signal.SIGUSR1
"""The launcher's own signal to a child that must outlive a SIGTERM which all processes get at once."""

S = TypeVar("S", bound=Start)


def begin(kind: type[S], by: signal.Signals = signal.SIGTERM) -> S:
    """Return what the launcher hands over by the descriptor in ``argv[1]``; end when the launcher ends.

    Parameters
    ----------
    by:
        The signal that ends this process; see ``end_with_parent``.
    """
    start = take_over(kind, int(sys.argv[1]))
    end_with_parent(start.launcher, by)
    return start


def end_with_parent(parent: int, by: signal.Signals) -> None:
    """Take signals again, and get one when the launcher ends.

    Parameters
    ----------
    parent:
        Process id of the launcher.
    by:
        The signal. With END, the others that ask a process to end are left to the launcher, which knows when
        nobody needs this process any more.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, by)
    if by is END:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    if os.getppid() != parent:  # it ended before this process asked to be told
        sys.exit(0)
