"""What C-FIND answers beside matches."""

from __future__ import annotations

from enum import IntEnum

from pydicom.dataset import Dataset

_COMMENT = 64
"""Characters of an Error Comment (0000,0902), an LO."""


class FindStatus(IntEnum):
    """Statuses of C-FIND (PS3.4, C.4.1.1.4; PS3.7, C)."""

    CLASS_NOT_SUPPORTED = 0x0122
    OUT_OF_RESOURCES = 0xA700
    IDENTIFIER_DOES_NOT_MATCH = 0xA900
    UNABLE_TO_PROCESS = 0xC000
    CANCELLED = 0xFE00
    PENDING = 0xFF00
    PENDING_WITHOUT_SOME_KEYS = 0xFF01


class BadIdentifier(Exception):
    """An identifier that cannot be answered.

    Attributes
    ----------
    reason:
        For the peer and the audit; holds no value of the identifier.
    """

    def __init__(self, status: FindStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def failure(status: FindStatus, reason: str) -> Dataset:
    """Return a status with the reason in words."""
    response = Dataset()
    response.Status = int(status)
    response.ErrorComment = reason[:_COMMENT]
    return response
