"""What a child process of the launcher does first."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
"""Signals that the launcher waits for, and its children therefore begin with blocked."""


def end_with_parent(parent: int) -> None:
    """Take signals again, and get SIGTERM when the launcher ends.

    Parameters
    ----------
    parent:
        Process id of the launcher.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    if os.getppid() != parent:
        sys.exit(0)
