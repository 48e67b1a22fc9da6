"""The audit trail: JSON lines in files that are put aside when they are large.

A line says who did what to which UIDs, when, and what came of it. Event codes are those of DICOM PS3.15, A.5
(and PS3.16, CID 400). No names, values, file names or original UIDs: who calls ``write`` gives new UIDs only.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import orjson

_NAME = "audit.jsonl"
_MAX_REASON = 300
_MAX_UIDS = 1000
_UID = re.compile(r"[0-9.]{1,64}")


class Event(StrEnum):
    """What happened, by its DICOM code (coding scheme DCM)."""

    APPLICATION = "110100"
    AUDIT_USED = "110101"
    ACCESSED = "110103"
    TRANSFERRED = "110104"
    DELETED = "110105"
    EXPORT = "110106"
    IMPORT = "110107"
    QUERY = "110112"
    SECURITY_ALERT = "110113"

    @property
    def meaning(self) -> str:
        """The code's meaning in DICOM."""
        return _MEANINGS[self]


_MEANINGS = {
    Event.APPLICATION: "Application Activity",
    Event.AUDIT_USED: "Audit Log Used",
    Event.ACCESSED: "DICOM Instances Accessed",
    Event.TRANSFERRED: "DICOM Instances Transferred",
    Event.DELETED: "DICOM Study Deleted",
    Event.EXPORT: "Export",
    Event.IMPORT: "Import",
    Event.QUERY: "Query",
    Event.SECURITY_ALERT: "Security Alert",
}


class Result(StrEnum):
    """What came of it: DICOM's event outcome indicator in words."""

    SUCCESS = "success"
    REFUSED = "refused"
    FAILED = "failed"


class Audit:
    """The audit trail in a folder, written by all processes of a store.

    Parameters
    ----------
    folder:
        Made when it is missing, for its owner alone.
    max_bytes:
        A larger file is put aside.
    keep:
        Files that are kept.
    """

    def __init__(self, folder: Path, *, max_bytes: int = 64 << 20, keep: int = 1000) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._keep = keep
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def write(
        self,
        event: Event,
        who: str,
        uids: Sequence[str],
        outcome: Result,
        reason: str = "",
        **facts: str | int,
    ) -> None:
        """Add a line.

        Parameters
        ----------
        who:
            Id of a token, or the name of a door.
        uids:
            UIDs as they are in the store: new ones; of an instance, study, series and instance.
        reason:
            Why it was refused or failed, in words that hold nothing of the data.
        facts:
            What else there is to say, as counts and the name of a peer.
        """
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "event": str(event),
            "meaning": event.meaning,
            "who": who,
            "uids": [uid for uid in uids[:_MAX_UIDS] if _UID.fullmatch(uid)],
            "outcome": str(outcome),
            **({"reason": reason[:_MAX_REASON]} if reason else {}),
            **({"more_uids": len(uids) - _MAX_UIDS} if len(uids) > _MAX_UIDS else {}),
            **facts,
        }
        self._append(orjson.dumps(line) + b"\n")

    def files(self) -> list[Path]:
        """Return the files of the trail, the oldest first."""
        aside = sorted(self._folder.glob("audit-*.jsonl"))
        newest = self._folder / _NAME
        return [*aside, newest] if newest.exists() else aside

    def rows(self) -> Iterator[dict[str, object]]:
        """Yield the rows, the oldest first; a line that a crash cut off is left out."""
        for path in self.files():
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:  # put aside meanwhile
                for line in file:
                    with contextlib.suppress(orjson.JSONDecodeError):
                        yield orjson.loads(line)

    def newest(self, event: Event, most: int) -> list[dict[str, object]]:
        """Return the newest rows of one event, the newest first; no more files are read than that takes."""
        mark = f'"event":"{event}"'.encode()
        found: list[dict[str, object]] = []
        for path in reversed(self.files()):
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:  # put aside meanwhile
                lines = deque((line for line in file if mark in line), maxlen=most - len(found))
                for line in reversed(lines):
                    with contextlib.suppress(orjson.JSONDecodeError):
                        found.append(orjson.loads(line))
            if len(found) >= most:
                break
        return found

    def _append(self, line: bytes) -> None:
        # One lock for all processes: who writes must not do so into a file that another has just put aside.
        with self._locked():
            path = self._folder / _NAME
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_size + len(line) > self._max_bytes:
                    self._put_aside(path)
            fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                end = os.lseek(fd, 0, os.SEEK_END)
                if end and os.pread(fd, 1, end - 1) != b"\n":  # a crash has cut the last line off
                    line = b"\n" + line
                if os.write(fd, line) < len(line):  # the disk is full: half a line would spoil the next one
                    os.ftruncate(fd, end)
                    raise OSError(errno.ENOSPC, "the audit trail cannot be written")
            finally:
                os.close(fd)

    def _put_aside(self, path: Path) -> None:
        name = datetime.now(UTC).strftime("audit-%Y%m%dT%H%M%S.%f.jsonl")
        path.rename(self._folder / name)
        for old in sorted(self._folder.glob("audit-*.jsonl"))[: -self._keep + 1 or None]:
            old.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        fd = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)
