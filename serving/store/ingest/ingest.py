"""The one pipeline: every instance of every door goes through ``Ingest.add``.

Its steps, in this order, so that a crash at any of them leaves an instance whole or absent:

=========== ======================================================= ====================================
step        done                                                    after a crash here
=========== ======================================================= ====================================
received    the door has written all of it to a temporary file      removed; the sender knows of nothing
checked     it is a slide of a known kind                           the same
cleaned     a de-identified copy is in a second temporary file      the same
noted       where it belongs is written down (``Workplace.due``)    the same
placed      the copy is on the disk, and renamed to its place       indexed and audited by the next start
indexed     the index has it: from here on it is seen               audited by the next start
audited     the audit trail has it                                  nothing is left to do
=========== ======================================================= ====================================
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from dicom_io.errors import ImageError
from serving.store.access.audit import Audit, Event, Result
from serving.store.deidentify.deidentifier import Deidentified, Deidentifier
from serving.store.deidentify.refused import Cause, Refused
from serving.store.files import DiskFull as NoSpace
from serving.store.files import StoreFiles
from serving.store.index.frames import UnreadableInstance
from serving.store.index.record import InstanceRecord, record_of
from serving.store.index.store_index import Added, StoreIndex
from serving.store.ingest.arrival import Arrival, DiskFull, Refusal, TooLarge
from serving.store.ingest.outcome import Origin, Outcome, SopReference, Status, Verdict
from serving.store.ingest.requirements import Header, Unacceptable, require_acceptable
from serving.store.ingest.workplace import Due, Workplace, clear_abandoned

log = logging.getLogger(__name__)

QUARANTINE = "quarantine"
"""The folder, in the store's, of files whose UID another instance has: never shown, never overwritten."""

_OTHER_BYTES = (
    "The store has another instance of this SOP Instance UID, with other contents; "
    "this one was put aside and is not shown."
)
_STATUS = {
    Cause.DAMAGED: Status.CANNOT_UNDERSTAND,
    Cause.SOP_CLASS: Status.CLASS_NOT_SUPPORTED,
    Cause.SYNTAX: Status.SYNTAX_NOT_SUPPORTED,
    Cause.IDENTIFYING: Status.CANNOT_UNDERSTAND,
}


class Step(StrEnum):
    """What has been done with an instance; see the top of this file."""

    RECEIVED = "received"
    CHECKED = "checked"
    CLEANED = "cleaned"
    NOTED = "noted"
    PLACED = "placed"
    INDEXED = "indexed"
    AUDITED = "audited"


def _unwatched(_: Step) -> None:
    pass


def _refusal(error: Refusal | Refused | UnreadableInstance | ImageError | OSError) -> Refusal:
    """Return why an instance is not taken in; raise what is no fault of it."""
    match error:
        case Refusal():
            return error
        case Refused():
            return Refusal(_STATUS[error.cause], error.reason)
        case UnreadableInstance():
            return Refusal(Status.CANNOT_UNDERSTAND, f"The instance cannot be read: {error}.")
        case ImageError():
            passing = Refusal(Status.PROCESSING_FAILURE, "The store could not read its copy; send it again.")
            passing.is_passing = True
            return passing
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull()
    raise error


class Ingest:
    """Takes instances in; safe to use from many threads, and beside other processes, but not over a fork.

    Parameters
    ----------
    max_instance_bytes:
        Larger instances are refused.
    after:
        Called after each step of each instance.
    """

    def __init__(
        self,
        files: StoreFiles,
        index: StoreIndex,
        deidentifier: Deidentifier,
        audit: Audit,
        max_instance_bytes: int,
        after: Callable[[Step], None] = _unwatched,
    ) -> None:
        self._files = files
        self._index = index
        self._deidentifier = deidentifier
        self._audit = audit
        self._limit = max_instance_bytes
        self._after = after
        files.prepare()
        clear_abandoned(files.incoming, self._finish)
        self._workplace = Workplace(files.incoming)

    def close(self) -> None:
        """Remove what is on its way; nothing may be added any more."""
        self._workplace.close()

    @property
    def folder(self) -> Path:
        """Where doors write what is on its way: this process's own, cleared when it has ended."""
        return self._workplace.folder

    def arrival(self) -> Arrival:
        """Return a new temporary file for a door to write to.

        Raises
        ------
        Refusal
            DiskFull.
        """
        self.require_room(0)
        return Arrival(self._workplace.new_path(), self._limit, self.require_room)

    def require_room(self, size: int) -> None:
        """Refuse an instance of so many bytes which is too large, or for which the disk has no room.

        Raises
        ------
        Refusal
            TooLarge, DiskFull.
        """
        if size > self._limit:
            raise TooLarge(self._limit)
        try:
            self._files.require_space(size)
        except NoSpace:
            raise DiskFull from None

    def add(self, temp: Path, origin: Origin, study: str | None = None) -> Outcome:
        """Take in the file at ``temp``, which stays the caller's.

        When this returns, what the outcome says holds after a crash, too.

        Parameters
        ----------
        study:
            The study that it must be of, by its new or its old UID; ``None`` takes any.

        Raises
        ------
        DatabaseLost, OSError
            When the index or the disk fails; the instance may be added again.
        """
        self._after(Step.RECEIVED)
        header = None
        try:
            header = require_acceptable(temp)
            self._after(Step.CHECKED)
            self.require_room(temp.stat().st_size)
            return self._cleaned(temp, header, origin, study)
        except Unacceptable as refusal:
            return self.refused(refusal, origin, refusal.sent)
        except (Refusal, Refused, UnreadableInstance, ImageError, OSError) as error:
            return self.refused(_refusal(error), origin, header.sent if header else None)

    def refused(self, refusal: Refusal, origin: Origin, sent: SopReference | None = None) -> Outcome:
        """Return the outcome of what was refused, here or by a door; the audit trail has it then."""
        self._audit.write(Event.IMPORT, origin.who, (), Result.REFUSED, refusal.reason, door=origin.door)
        return Outcome(
            Verdict.REFUSED, refusal.status, sent, reason=refusal.reason, is_passing=refusal.is_passing
        )

    def _cleaned(self, temp: Path, header: Header, origin: Origin, study: str | None) -> Outcome:
        clean = self._workplace.new_path()
        try:
            with os.fdopen(
                os.open(clean, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w+b"
            ) as target:
                deidentified = self._deidentifier.write(temp, target)
            if study not in (None, header.uids.study, deidentified.study):
                raise Refusal(Status.WRONG_CLASS, "It is of another study than the request names.")
            self._after(Step.CLEANED)
            record = record_of(clean, origin.name)
            return self._placed(clean, record, header, deidentified, origin)
        finally:
            clean.unlink(missing_ok=True)

    def _placed(
        self, clean: Path, record: InstanceRecord, header: Header, deidentified: Deidentified, origin: Origin
    ) -> Outcome:
        with self._workplace.due(Due(record.path, origin)):
            self._after(Step.NOTED)
            self._files.keep(clean, record.path)
            self._after(Step.PLACED)
            verdict = self._index_placed(record)
            self._after(Step.INDEXED)
            self._tell(record, verdict, origin, deidentified)
            self._after(Step.AUDITED)
        if verdict is Verdict.CONFLICT:
            return Outcome(verdict, Status.DUPLICATE_INSTANCE, sent=header.sent, reason=_OTHER_BYTES)
        return Outcome(
            verdict, Status.COERCED, sent=header.sent, stored=record.uids, removed=deidentified.removed
        )

    def _index_placed(self, record: InstanceRecord) -> Verdict:
        added = self._index.add(record, lambda: self._files.require(record.path))
        if added is Added.DIFFERENT:
            self._put_aside(record)
            return Verdict.CONFLICT
        return Verdict.STORED if added is Added.NEW else Verdict.SAME

    def _put_aside(self, record: InstanceRecord) -> None:
        folder = self._files.folder / QUARANTINE
        folder.mkdir(mode=0o700, exist_ok=True)
        path = self._files.folder / record.path
        with contextlib.suppress(FileNotFoundError):  # another process has just put the same aside
            os.replace(path, folder / path.name)
        self._files.remove(record.path)  # the folders that were made for it

    def _tell(
        self,
        record: InstanceRecord,
        verdict: Verdict,
        origin: Origin,
        deidentified: Deidentified | None,
    ) -> None:
        """Write the row of an instance that came in."""
        removed = 0 if deidentified is None else sum(deidentified.removed.values())
        self._audit.write(
            Event.IMPORT,
            origin.who,
            (record.study, record.series, record.sop),
            Result.REFUSED if verdict is Verdict.CONFLICT else Result.SUCCESS,
            _OTHER_BYTES if verdict is Verdict.CONFLICT else "",
            door=origin.door,
            became=verdict.value,
            size=record.size,
            removed=removed,
        )

    def _finish(self, due: Due) -> None:
        """Index an instance that a killed process had put in its place."""
        path = self._files.folder / due.place
        if not path.exists():
            return
        try:
            record = record_of(path, due.origin.name)
        except (UnreadableInstance, ImageError):  # a fault of the disk; who looks through the files finds it
            log.error("a file that was put in its place cannot be read")
            return
        verdict = self._index_placed(record)
        log.info("finished an instance that was coming in when its process ended")
        self._tell(record, verdict, due.origin, None)
