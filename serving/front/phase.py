"""What a connection is doing."""

from __future__ import annotations

import enum


class Phase(enum.IntEnum):
    """What a connection is doing; when there are too many, the lowest phases are closed first.

    ``SILENT`` → ``HEAD`` → (``BODY`` or ``STREAMING`` →) ``WORKING`` → ``ANSWERING`` → ``IDLE`` → ``HEAD`` …;
    a refused client that is still sending is ``LINGERING`` after its answer, and everything ends as
    ``CLOSING``.
    """

    SILENT = 0
    HEAD = 1
    LINGERING = 2
    IDLE = 3
    CLOSING = 4
    ANSWERING = 5
    BODY = 6
    STREAMING = 7
    WORKING = 8
