"""The exit statuses of the command and of its processes."""

from __future__ import annotations

from enum import IntEnum


class ExitStatus(IntEnum):
    """How a process of ours ends.

    Attributes
    ----------
    MISCONFIGURED:
        A setting or the model cannot be used (EX_CONFIG of sysexits.h): restarting would not help.
    INTERRUPTED:
        Ctrl-C, as a shell reports it (128 + SIGINT).
    """

    OK = 0
    FAULT = 1
    MISCONFIGURED = 78
    INTERRUPTED = 130
