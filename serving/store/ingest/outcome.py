"""What became of an instance that came in, in the terms that all doors tell their peers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum, StrEnum

from serving.store.uids import InstanceUids


class Door(StrEnum):
    """The way an instance came in."""

    STOW = "stow"
    C_STORE = "c-store"
    WATCH = "watch"
    ADD = "add"
    UPLOAD = "upload"
    PULL = "pull"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an instance comes from.

    Attributes
    ----------
    who:
        Who sent it as the audit names them: a token's id, an application entity, a command's user. Never
        a file name: these hold names of patients.
    """

    door: Door
    who: str

    @property
    def name(self) -> str:
        """What the index calls it: of a DICOM node, too, who sent."""
        return self.who if self.door is Door.C_STORE else str(self.door)


class Status(IntEnum):
    """Statuses of C-STORE (PS3.4, B.2.3), which STOW-RS has as failure reasons, too (PS3.18, I.2)."""

    SUCCESS = 0x0000
    PROCESSING_FAILURE = 0x0110
    DUPLICATE_INSTANCE = 0x0111
    CLASS_NOT_SUPPORTED = 0x0122
    NOT_AUTHORISED = 0x0124
    OUT_OF_RESOURCES = 0xA700
    WRONG_CLASS = 0xA900
    COERCED = 0xB000
    CANNOT_UNDERSTAND = 0xC000
    SYNTAX_NOT_SUPPORTED = 0xC122
    """The transfer syntax is not supported."""


class Verdict(Enum):
    """What was done with an instance."""

    STORED = "stored"
    SAME = "same"
    REFUSED = "refused"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class SopReference:
    """An instance as its sender names it: as it was sent, in at most 64 printable characters."""

    sop_class: str
    sop: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one instance.

    Attributes
    ----------
    sent:
        Its names as they were sent; ``None`` where they cannot be read. They may name a patient to those who
        know the archive, so only the peer that sent them is told.
    stored:
        Its names in this store; ``None`` when nothing is stored.
    status:
        SUCCESS; COERCED when it was de-identified; else why not.
    reason:
        One sentence for who sent it, and the audit; empty on success. Holds no value of the instance.
    is_passing:
        Whether the same may be stored later, as when there is room again.
    removed:
        How many attributes were removed by the de-identification, by kind.
    """

    verdict: Verdict
    status: Status
    sent: SopReference | None = None
    stored: InstanceUids | None = None
    reason: str = ""
    is_passing: bool = False
    removed: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_here(self) -> bool:
        """Whether the store has it now."""
        return self.verdict in (Verdict.STORED, Verdict.SAME)
