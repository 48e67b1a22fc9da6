"""Why an instance is not let in."""

from __future__ import annotations

from enum import StrEnum


class Cause(StrEnum):
    """The kind of a refusal."""

    DAMAGED = "damaged"
    """It is not DICOM, or cut off, or its lengths lie."""
    SOP_CLASS = "sop class"
    """Its SOP class is not one of slides."""
    SYNTAX = "transfer syntax"
    """Nothing here cleans frames of its transfer syntax."""
    IDENTIFYING = "identifying"
    """Its pixels show, or may show, who the patient is."""


class Refused(Exception):
    """An instance cannot be de-identified.

    Attributes
    ----------
    cause:
        Its kind.
    reason:
        One sentence for its sender and the audit; holds no value of the instance.
    """

    def __init__(self, cause: Cause, reason: str) -> None:
        super().__init__(reason)
        self.cause = cause
        self.reason = reason


def damaged(clause: str) -> Refused:
    """Return the refusal of a file that is damaged, cut off or lies; ``clause`` begins as "it is cut off"."""
    return Refused(Cause.DAMAGED, f"The instance cannot be read: {clause}.")
