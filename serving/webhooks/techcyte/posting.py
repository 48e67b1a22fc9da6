"""Posting a task's results exactly once.

Techcyte takes a post as final and adds it to what it has: two posts are two evaluations. So the ledger says
``sending`` before the request, and from the moment its last bytes may have left nothing is sent again before
Techcyte has been asked: a marker among the results tells this run's from all others. What it cannot tell is
parked for a person.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NoReturn, Self

import orjson

from dicom_io.errors import ImageCode, ImageError
from dicom_io.waiting import Cancelled
from serving.config.techcyte_group import TechcyteSettings
from serving.webhooks.jobs.entry import Entry, EntryState
from serving.webhooks.jobs.handler import JobContext, JobFailed
from serving.webhooks.techcyte.client import TechcyteClient
from serving.webhooks.techcyte.reports import Posting
from serving.webhooks.transport import StatusError

_REFUSALS = frozenset({400, 404, 405, 406, 411, 413, 414, 415, 422, 431})
"""Say that a request that had arrived was not taken. Not 408 and 409: they do not tell."""

_DENIALS = frozenset({401, 403})
_TOO_MANY = 429
_LONGEST_PAUSE_S = 60.0

_TELL = "`pathserve webhooks parked` shows them, and sends them once you say so"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Document:
    """What the ledger keeps of a task until it is done.

    Attributes
    ----------
    body:
        Of the post.
    case:
        Of what sets the triage after it; ``None`` where nothing is to be set.
    case_id:
        Techcyte's identifier of the case, for who looks it up; may be empty.
    left_out:
        A sentence for each place where something could not be sent.
    """

    body: Mapping[str, Any] = field(repr=False)
    case: Mapping[str, Any] | None = field(repr=False)
    case_id: str = ""
    left_out: Sequence[str] = ()

    @classmethod
    def of(cls, posting: Posting, case_id: str) -> Self:
        """Return what is kept of a posting."""
        return cls(posting.body, posting.case, case_id, posting.left_out)

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Return what ``write`` has written."""
        return cls(**orjson.loads(data))

    def write(self) -> bytes:
        """Return it as JSON."""
        fields = {name: getattr(self, name) for name in ("case_id", "left_out", "body", "case")}
        return orjson.dumps(fields)


class _Next(Enum):
    """What follows a request for results."""

    SENT = "sent"
    AGAIN = "again"
    WITH_KEY = "with the key"
    ASK = "ask"


@dataclass(frozen=True, slots=True)
class _Answer:
    """What has become of a request.

    Attributes
    ----------
    why:
        A sentence.
    pause_s:
        Shortest pause before another, as Techcyte asks for it.
    """

    next: _Next
    why: str = ""
    pause_s: float = 0.0


class Poster:
    """Posts one task's results.

    Parameters
    ----------
    client:
        Talks about the task.
    """

    def __init__(self, client: TechcyteClient, context: JobContext, settings: TechcyteSettings) -> None:
        self._client = client
        self._context = context
        self._settings = settings

    def post(self, entry: Entry) -> str:
        """Post what an entry holds, from wherever it stands; return what there is to say about it.

        Raises
        ------
        JobFailed
            When the results were refused or are parked.
        LeaseLost, TimeoutError, Cancelled
            When the job may not go on; the entry says how far it came.
        """
        state = entry.state
        if state is EntryState.SENDING:
            state = self._ask(entry, "The process that sent the results ended before there was an answer.")
        if state is EntryState.READY:
            state = self._send(entry)
        if state is EntryState.SENT:
            return self._finish(entry)
        if state is EntryState.DONE:
            return entry.note
        raise JobFailed(f"The results are {state}: {entry.note or _TELL}.")

    def post_again(self, entry: Entry) -> str:
        """Post what a person says is not there; it is asked for first all the same.

        Raises
        ------
        JobFailed, LeaseLost, TimeoutError, Cancelled
        """
        if entry.state is EntryState.READY and self._is_there(entry) is True:
            self._context.ledger.move(entry, EntryState.SENT)
            return self._finish(entry)
        return self.post(entry)

    # Sending

    def _send(self, entry: Entry) -> EntryState:
        document = Document.read(entry.document)
        body = orjson.dumps(document.body)
        until = time.monotonic() + self._settings.retry_s
        for pause in _pauses():
            answer = self._attempt(entry, body)
            if answer.next is _Next.SENT:
                self._context.ledger.move(entry, EntryState.SENT)
                return EntryState.SENT
            if answer.next is _Next.ASK:
                return self._ask(entry, answer.why)
            if answer.next is _Next.AGAIN:
                pause_s = max(pause, answer.pause_s)
                if time.monotonic() + pause_s > until:
                    self._park(entry, f"Nothing was sent: {answer.why}")
                self._context.progress("waiting for Techcyte")
                self._wait(pause_s)
        raise AssertionError("unreachable")

    def _attempt(self, entry: Entry, body: bytes) -> _Answer:
        """Send the results, and write down what is certain about them."""
        ledger = self._context.ledger
        try:
            self._client.ready()
        except ImageError as error:
            if error.code is ImageCode.INVALID_CREDENTIALS_ERROR:
                self._park(entry, f"Nothing was sent: {error.description}")
            return _Answer(_Next.AGAIN, error.description)
        ledger.move(entry, EntryState.SENDING)
        self._context.progress("sending the results")
        gate = _Gate(self._context)
        try:
            self._client.post_results(body, gate.open)
        except StatusError as error:
            return self._of_status(entry, error, may_be_there=gate.is_open)
        except ImageError as error:
            if gate.is_open:
                return _Answer(_Next.ASK, error.description)
            ledger.move(entry, EntryState.READY)
            return _Answer(_Next.AGAIN, error.description)
        return _Answer(_Next.SENT)

    def _of_status(self, entry: Entry, error: StatusError, *, may_be_there: bool) -> _Answer:
        ledger, why = self._context.ledger, error.description
        if error.status in _REFUSALS:
            ledger.move(entry, EntryState.REFUSED, why)
            raise JobFailed(
                f"Techcyte did not take the results (it answered {error.status}): a scan may be none of the "
                "task's, or be without its one region."
            )
        if error.status in _DENIALS:
            ledger.move(entry, EntryState.READY)
            if self._has_key():
                return _Answer(_Next.WITH_KEY)
            self._park(entry, f"Nothing was sent: {why}")
        if error.status == _TOO_MANY or not may_be_there:
            ledger.move(entry, EntryState.READY)
            return _Answer(_Next.AGAIN, why, error.retry_after_s)
        return _Answer(_Next.ASK, why)

    def _has_key(self) -> bool:
        try:
            return self._client.use_key()
        except ImageError:
            return False

    # Asking

    def _ask(self, entry: Entry, why: str) -> EntryState:
        """Find out whether the results are there; park them where that cannot be known, or they are not."""
        self._context.progress("asking Techcyte whether it has the results")
        until = time.monotonic() + self._settings.ask_s
        for pause in _pauses():
            found = self._is_there(entry)
            if found is True:
                self._context.ledger.move(entry, EntryState.SENT)
                return EntryState.SENT
            if time.monotonic() + pause > until:
                # Not seen is not the same as not taken: what was lost may still be on its way.
                self._park(entry, f"{why} {'Techcyte does not show them.' if found is False else found}")
            self._wait(pause)
        raise AssertionError("unreachable")

    def _is_there(self, entry: Entry) -> bool | str:
        """Return whether Techcyte shows the results; a sentence where it cannot be asked."""
        try:
            return self._client.has_run(entry.marker)
        except ImageError as error:
            return f"It could not be asked: {error.description}"

    # Ends

    def _finish(self, entry: Entry) -> str:
        """Do what follows the post, which may be done twice; return what there is to say about it."""
        document = Document.read(entry.document)
        notes = list(document.left_out)
        if document.case is not None:
            self._context.require_lease()
            try:
                self._client.set_triage(orjson.dumps(document.case))
            except ImageError as error:
                self._require_time()
                notes.append(f"The triage could not be set: {error.description}")
        note = "; ".join(notes)
        self._context.ledger.move(entry, EntryState.DONE, note)
        return note

    def _park(self, entry: Entry, note: str) -> NoReturn:
        self._require_time()
        self._context.ledger.move(entry, EntryState.PARKED, note)
        log.warning("results are parked", extra={"job": entry.job_id, "kind": self._context.kind})
        raise JobFailed(f"The results are parked: {note} {_TELL}.")

    def _require_time(self) -> None:
        """Raise where the job shall end: what a request then says is not what Techcyte says."""
        self._wait(0.0)

    def _wait(self, seconds: float) -> None:
        waits = self._context.waits
        if waits.stop.wait(min(seconds, max(waits.deadline - time.monotonic(), 0.0))):
            raise Cancelled
        if time.monotonic() >= waits.deadline:
            raise TimeoutError


class _Gate:
    """Lets the last bytes of a request out if the job is still this runner's, and knows whether it has."""

    def __init__(self, context: JobContext) -> None:
        self._context = context
        self.is_open = False

    def open(self) -> None:
        """Raise LeaseLost, or let them out."""
        self._context.require_lease()
        self.is_open = True


def _pauses() -> Iterator[float]:
    """Yield 1, 2, 4, … seconds."""
    pause_s = 1.0
    while True:
        yield pause_s
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
