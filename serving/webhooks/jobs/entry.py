"""The rows of the ledger as values."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pydantic import SecretBytes

from serving.webhooks.jobs.seals import Seals, WrongKey

MAX_DOCUMENT_BYTES = 64 << 20


class EntryState(StrEnum):
    """What is known about what a row stands for.

    Attributes
    ----------
    READY:
        Nothing was sent; it may be.
    SENDING:
        It may have been sent, in part or as a whole.
    SENT:
        The other side has it; what follows may be outstanding.
    DONE:
        Nothing is outstanding.
    REFUSED:
        The other side has said that it does not take it.
    PARKED:
        It cannot be known: a person decides.
    DISCARDED:
        A person has decided that it is not sent.
    """

    READY = "ready"
    SENDING = "sending"
    SENT = "sent"
    DONE = "done"
    REFUSED = "refused"
    PARKED = "parked"
    DISCARDED = "discarded"

    @property
    def is_settled(self) -> bool:
        """Whether nothing more will come."""
        return self in _SETTLED


_SETTLED = frozenset({EntryState.DONE, EntryState.REFUSED, EntryState.DISCARDED})


@dataclass(frozen=True, slots=True)
class NewEntry:
    """What is to be sent.

    Attributes
    ----------
    service, subject:
        To whom, and for what by that side's name: there is one row for each.
    marker:
        Tells it from everything else that the other side has.
    document:
        All that is needed to send it, at most ``MAX_DOCUMENT_BYTES``. It is deleted once nothing is left to
        do.
    secret:
        What is needed, too, and must not be stored in the clear.
    keep_s:
        Seconds for which it is remembered after that.
    """

    service: str
    subject: str
    marker: str
    document: bytes = field(repr=False)
    secret: SecretBytes | None
    keep_s: float


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the ledger.

    Attributes
    ----------
    digest:
        SHA-256 of the document, in hexadecimal digits.
    document:
        Empty where nothing is left to do.
    secret:
        ``None`` also where no key opens it any more.
    note:
        What is known, in a sentence.
    created_at, changed_at:
        Seconds since 1970.
    """

    entry_id: str
    service: str
    subject: str
    marker: str
    state: EntryState
    job_id: str
    digest: str
    note: str
    created_at: float
    changed_at: float
    document: bytes = field(repr=False)
    secret: SecretBytes | None


def entry_of(row: Any, seals: Seals | None) -> Entry:
    """Return a row; its secret is opened where there are keys and one fits."""
    secret = None
    if seals is not None and row.secret is not None:
        try:
            secret = seals.open(row.secret, row.seal)
        except WrongKey:
            secret = None
    return Entry(
        row.id,
        row.service,
        row.subject,
        row.marker,
        EntryState(row.state),
        row.job_id,
        row.digest,
        row.note,
        row.created_at,
        row.changed_at,
        b"" if row.document is None else zlib.decompress(row.document),
        secret,
    )
