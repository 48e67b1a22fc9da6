"""Fetching a scan's files from the links of a trigger: streamed, bounded, resumed once, checked."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from urllib3.response import BaseHTTPResponse

from dicom_io.errors import ImageError
from dicom_io.waiting import Cancellation
from dicom_io.web.http import iter_body
from dicom_io.web.patience import Patience
from serving.config.settings import Settings
from serving.webhooks.techcyte.faults import ScanError
from serving.webhooks.techcyte.file_kinds import FileKind, kind_of
from serving.webhooks.techcyte.links import Broken, Hosts, Links, named_hosts
from serving.webhooks.techcyte.scratch import TaskFolder, full
from serving.webhooks.techcyte.trigger import PresignedUrl, Scan, ScanFile
from serving.webhooks.techcyte.unpacking import unpacked

_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a download may take, and where it may lead.

    Attributes
    ----------
    hosts:
        Those that may be at private addresses, and may be redirected to.
    file_bytes:
        Of a file, packed or unpacked.
    timeout_s:
        Longest wait for a connection and for each piece of an answer, in seconds.
    """

    hosts: Hosts
    file_bytes: int
    timeout_s: float


def limits_of(settings: Settings) -> Limits:
    """Return what the settings say.

    Raises
    ------
    SettingsError
        For a host that is none.
    """
    limits = settings.techcyte_downloads
    return Limits(named_hosts(settings), limits.max_file_bytes, settings.stores.timeout_s)


def fetch_scan(scan: Scan, folder: TaskFolder, limits: Limits, waits: Cancellation) -> Path:
    """Fetch a scan's files, check and unpack them, and return what ``open_scan`` opens.

    Parameters
    ----------
    folder:
        Of the task: a folder named after the scan is made in it.

    Raises
    ------
    ScanError
        When they cannot be had, or are not what a slide is made of.
    Cancelled, TimeoutError
        When the waits end.
    """
    try:
        own = folder.folder(scan.name)
        with Links(limits.hosts, limits.timeout_s, waits) as links:
            found = [_fetched(file, own, folder, limits, links, waits) for file in scan.urls]
        if len(found) > 1 and {kind for _, kind in found} != {FileKind.DICOM}:
            raise ScanError("The scan has several files, and not all of them are DICOM.")
        path, kind = found[0]
        match kind:
            case FileKind.TIFF:
                return path
            case FileKind.DICOM:
                return own
            case FileKind.ZIP:
                return unpacked(path, folder, limits.file_bytes, waits)
    except TimeoutError:
        raise
    except OSError as error:
        raise _unwritten(error) from error


def _fetched(
    file: ScanFile, own: Path, folder: TaskFolder, limits: Limits, links: Links, waits: Cancellation
) -> tuple[Path, FileKind]:
    path = own / file.file_name
    with path.open("xb") as out:
        _Transfer(file.url, out, folder, limits.file_bytes).run(links, waits)
    return path, kind_of(path)


@dataclass(frozen=True, slots=True)
class _Whole:
    """What an answer says about the file.

    Attributes
    ----------
    size:
        In bytes.
    tag:
        Its strong ETag; empty where it has none.
    """

    size: int
    tag: str

    @property
    def can_be_resumed(self) -> bool:
        return bool(self.tag)


class _Transfer:
    """One file on its way to the disk."""

    def __init__(self, link: PresignedUrl, out: BinaryIO, folder: TaskFolder, most: int) -> None:
        self._link, self._out, self._folder, self._most = link, out, folder, most
        self._host = link.origin.host
        self._whole: _Whole | None = None
        self._got = 0

    def run(self, links: Links, waits: Cancellation) -> None:
        """Fetch it; raise ScanError where it cannot be had."""
        patience, was_resumed = Patience(waits.deadline, waits.stop), False
        while True:
            try:
                return self._attempt(links)
            except Broken as error:
                if self._got:  # a file is not begun for ever: links expire, and others wait
                    if was_resumed:
                        raise ScanError(
                            f"The connection to {self._host} broke twice on the way of one file; start the "
                            "analysis again."
                        ) from error
                    was_resumed = True
                elif not patience.again():
                    raise ScanError(
                        f"{self._host} could not be reached, or did not answer in time; start the analysis "
                        "again later."
                    ) from error

    def _attempt(self, links: Links) -> None:
        with links.get(self._link, self._headers()) as response:
            self._begin(response)
            assert self._whole is not None
            for piece in _pieces(response, self._host):
                if self._got + len(piece) > self._whole.size:
                    raise ScanError(f"{self._host} sent more of a file than it said.")
                self._write(piece)
            if self._got < self._whole.size:
                raise Broken("the answer ended early")

    def _headers(self) -> Mapping[str, str]:
        if not self._got or self._whole is None or not self._whole.can_be_resumed:
            return {}
        return {"Range": f"bytes={self._got}-", "If-Range": self._whole.tag}

    def _begin(self, response: BaseHTTPResponse) -> None:
        """Find out what the answer is: the file from its start, or the rest of the same one."""
        if response.status == 200:
            whole = _Whole(self._size(response.headers.get("Content-Length", "")), _tag(response))
            self._start(whole)
            return
        # Bytes of another file must never be glued on: it is the same one by its tag and its size.
        found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        start, last, size = (int(number) for number in found.groups()) if found else (0, 0, 0)
        known = self._whole
        if (
            known is None
            or not self._got
            or (start, last + 1, size) != (self._got, known.size, known.size)
            or _tag(response) != known.tag
        ):
            raise ScanError(f"{self._host} sent another part of a file than was asked for.")

    def _size(self, length: str) -> int:
        if not (length.isascii() and length.isdigit() and len(length) <= 18):
            raise ScanError(f"{self._host} does not say how long a file is, so that it could not be checked.")
        size = int(length)
        if size > self._most:
            raise ScanError(
                f"A file of the scan has {size:,} bytes, and at most {self._most:,} are fetched; the "
                "operator may raise PATHSERVE_TECHCYTE_MAX_FILE_BYTES."
            )
        return size

    def _start(self, whole: _Whole) -> None:
        """Begin with the file's first byte, as if there had been none."""
        self._folder.give_back(0 if self._whole is None else self._whole.size)
        self._whole, self._got = whole, 0
        with _writing():
            self._folder.take(whole.size)  # at once: what cannot be kept need not be fetched
            self._out.seek(0)
            self._out.truncate()

    def _write(self, piece: bytes) -> None:
        with _writing():
            self._folder.require_free(len(piece))
            self._out.write(piece)
        self._got += len(piece)


def _pieces(response: BaseHTTPResponse, host: str) -> Iterator[bytes]:
    try:
        yield from iter_body(response)
    except ImageError as error:
        raise ScanError(f"{host} sent a file compressed, though it was asked not to.") from error


def _tag(response: BaseHTTPResponse) -> str:
    """Return the ETag if it is a strong one (RFC 9110, 13.1.5): a weak one may be that of other bytes."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') and tag.endswith('"') and len(tag) > 2 else ""


@contextmanager
def _writing() -> Iterator[None]:
    """Tell what goes wrong on the disk from what goes wrong on the network."""
    try:
        yield
    except OSError as error:
        raise _unwritten(error) from error


def _unwritten(error: OSError) -> ScanError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return full()
    return ScanError("The scan could not be written to this machine's disk; ask the operator.")
