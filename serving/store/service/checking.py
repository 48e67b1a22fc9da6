"""Every file is held to the index, and the index to the files, from which it can be made anew."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from dicom_io.errors import ImageError
from serving.store.access.audit import Event, Result
from serving.store.files import place_of
from serving.store.index.frames import UnreadableInstance
from serving.store.index.query import Stored
from serving.store.index.record import InstanceRecord, record_of
from serving.store.ingest.ingest import QUARANTINE
from serving.store.service.parts import Parts
from serving.store.uids import InstanceUids

WHO = "check"


class Fault(StrEnum):
    """What may be wrong with an instance."""

    MISSING = "its file is missing"
    DAMAGED = "its file is damaged"
    UNKNOWN = "the index does not know it"
    UNREADABLE = "a file without a row in the index cannot be read"


@dataclass(frozen=True, slots=True)
class Finding:
    """One instance with which something is wrong.

    Attributes
    ----------
    place:
        Of its file, in the store's folder: UIDs of this store.
    is_mended:
        Whether index and files are at one again.
    """

    fault: Fault
    place: str
    is_mended: bool


class Check:
    """Looks through a store, beside running processes.

    Parameters
    ----------
    mends:
        Whether the index is mended: instances that it does not know are added, those without a whole file
        removed; what is left of a damaged file is put aside.

    Attributes
    ----------
    whole:
        Instances that were found whole.
    """

    def __init__(self, parts: Parts, *, mends: bool) -> None:
        self._parts = parts
        self._mends = mends
        self.whole = 0

    def run(self) -> Iterator[Finding]:
        """Yield what is wrong, as it is found."""
        known = set()
        for study in self._parts.index.studies():
            for stored in self._parts.index.instances(study):
                known.add(stored.path)
                fault = self._fault_of(stored)
                if fault is None:
                    self.whole += 1
                elif self._is_here(stored):  # else it was deleted meanwhile
                    yield self._without_file(stored, fault)
        for place in self._parts.files.places():
            if place not in known:
                yield from self._without_row(place)

    def _fault_of(self, stored: Stored) -> Fault | None:
        path = self._parts.folder / stored.path
        try:
            record = record_of(path, stored.origin)
        except FileNotFoundError:
            return Fault.MISSING
        except (UnreadableInstance, ImageError):
            return Fault.DAMAGED
        same = (record.sha256, record.size, record.frames.count)
        return None if same == (stored.sha256, stored.size, stored.frames) else Fault.DAMAGED

    def _is_here(self, stored: Stored) -> bool:
        return self._parts.index.instance(stored.study, stored.series, stored.sop) is not None

    def _without_file(self, stored: Stored, fault: Fault) -> Finding:
        if self._mends:
            self._parts.index.remove(
                stored.study, stored.series, stored.sop, lambda one: self._aside(one.path)
            )
            self._note(Event.DELETED, InstanceUids(stored.study, stored.series, stored.sop), fault)
        return Finding(fault, stored.path, self._mends)

    def _without_row(self, place: str) -> Iterator[Finding]:
        path = self._parts.folder / place
        try:
            record = record_of(path, WHO)
        except FileNotFoundError:
            return
        except (UnreadableInstance, ImageError):
            yield self._unreadable(place)
            return
        if place_of(record.uids, record.sha256) != place:
            yield self._unreadable(place)  # whole, and not what its name says
        elif self._parts.index.instance(*_names(record)) is None:  # else it has just come in
            if self._mends:
                self._parts.index.add(record)
                self._note(Event.IMPORT, record.uids, Fault.UNKNOWN)
            yield Finding(Fault.UNKNOWN, place, self._mends)

    def _unreadable(self, place: str) -> Finding:
        if self._mends:
            self._aside(place)
        return Finding(Fault.UNREADABLE, place, self._mends)

    def _aside(self, place: str) -> None:
        """Put a file where nothing reads it: what is left of it may be of use to somebody."""
        path: Path = self._parts.folder / place
        folder = self._parts.folder / QUARANTINE
        folder.mkdir(mode=0o700, exist_ok=True)
        if path.exists():
            os.replace(path, folder / path.name)
        self._parts.files.remove(place)

    def _note(self, event: Event, uids: InstanceUids, fault: Fault) -> None:
        self._parts.audit.write(
            event, WHO, (uids.study, uids.series, uids.sop), Result.SUCCESS, f"mended: {fault}"
        )


def _names(record: InstanceRecord) -> tuple[str, str, str]:
    return record.study, record.series, record.sop
