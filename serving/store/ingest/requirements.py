"""What a file must be to come in at all, by its header; all else is the de-identification's to refuse."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from serving.store.deidentify.cleaners.syntaxes import CLEANERS, NATIVE
from serving.store.deidentify.file_meta import SourceMeta, read_file_meta
from serving.store.deidentify.refused import Refused
from serving.store.deidentify.source import reader_of
from serving.store.deidentify.walk import headers
from serving.store.ingest.arrival import Refusal
from serving.store.ingest.outcome import SopReference, Status
from serving.store.uids import InstanceUids

SOP_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.77.1.6",  # VL Whole Slide Microscopy
    "1.2.840.10008.5.1.4.1.1.77.1.2",  # VL Microscopic
    "1.2.840.10008.5.1.4.1.1.77.1.3",  # VL Slide-Coordinates Microscopic
)
"""SOP classes that are taken in: images of slides."""

SYNTAXES = (*sorted(NATIVE), *sorted(CLEANERS))
"""Transfer syntaxes that are taken in: those whose frames can be cleaned."""

_PREAMBLE = 128
_SOP_CLASS, _SOP, _STUDY, _SERIES = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
_TAGS = frozenset({_SOP_CLASS, _SOP, _STUDY, _SERIES})
_MOST = 1024
"""Bytes of a value that is read; UIDs have 64."""

_UNPRINTABLE = re.compile(r"[^\x21-\x7e]")


@dataclass(frozen=True, slots=True)
class Header:
    """Which instance a file is, as it was sent.

    Attributes
    ----------
    transfer_syntax:
        UID of the transfer syntax.
    """

    uids: InstanceUids
    sop_class: str
    transfer_syntax: str

    @property
    def sent(self) -> SopReference:
        """Its name for the answer to its sender."""
        return SopReference(self.sop_class, self.uids.sop)


class Unacceptable(Refusal):
    """A file is refused by its header.

    Attributes
    ----------
    sent:
        How its sender names it, as far as that can be read.
    """

    def __init__(self, status: Status, reason: str, sent: SopReference | None = None) -> None:
        super().__init__(status, reason)
        self.sent = sent


def require_acceptable(path: Path) -> Header:
    """Return which instance a file is.

    Raises
    ------
    Unacceptable
        When it is not DICOM, not of a whole slide, not of a transfer syntax that is taken in, or is named by
        something that is not a UID.
    """
    with path.open("rb") as file:
        if file.read(_PREAMBLE + 4)[_PREAMBLE:] != b"DICM":
            raise Unacceptable(Status.CANNOT_UNDERSTAND, "It is not a DICOM file (PS3.10).")
        file.seek(0)
        try:
            meta, names = _read(file, path.stat().st_size)
        except Refused:
            raise Unacceptable(Status.CANNOT_UNDERSTAND, "Its header is damaged or cut off.") from None
    return _checked(meta, names)


def _read(file: BinaryIO, size: int) -> tuple[SourceMeta, dict[int, str]]:
    """Read by our own reader: pydicom's warnings, which are logged, quote values that it finds odd."""
    meta = read_file_meta(file, size)
    names: dict[int, str] = {}
    if meta.syntax not in SYNTAXES:  # what follows may be of the other byte order
        return meta, names
    reader = reader_of(file, size, meta)
    for header in headers(reader, (reader.size, False)):
        tag, _, length = header
        if tag > _SERIES:
            break
        if tag in _TAGS and length <= _MOST:
            names[tag] = reader.read(length).decode("ascii", "replace").rstrip("\0 ")
        else:
            reader.skip(header, reader.size, 0)
    return meta, names


def _checked(meta: SourceMeta, names: dict[int, str]) -> Header:
    sop_class, sop = names.get(_SOP_CLASS) or meta.sop_class, names.get(_SOP) or meta.sop
    sent = SopReference(_printable(sop_class), _printable(sop)) if sop_class and sop else None
    if meta.syntax not in SYNTAXES:
        raise Unacceptable(
            Status.SYNTAX_NOT_SUPPORTED,
            "Its transfer syntax is not taken in; send JPEG, JPEG 2000, HTJ2K, JPEG-LS, JPEG XL, RLE or "
            "uncompressed little endian.",
            sent,
        )
    if sop_class not in SOP_CLASSES:
        raise Unacceptable(
            Status.CLASS_NOT_SUPPORTED,
            "It is not an image of a slide (VL Whole Slide Microscopy Image and its like).",
            sent,
        )
    if meta.sop not in ("", sop) or meta.sop_class not in ("", sop_class):
        raise Unacceptable(
            Status.WRONG_CLASS, "Its file meta information names another instance than its data set.", sent
        )
    try:
        uids = InstanceUids(names.get(_STUDY, ""), names.get(_SERIES, ""), sop)
    except ValueError as error:
        raise Unacceptable(
            Status.CANNOT_UNDERSTAND, f"It cannot be stored: {error} (PS3.5, 9.1).", sent
        ) from None
    return Header(uids, sop_class, meta.syntax)


def _printable(uid: str) -> str:
    return _UNPRINTABLE.sub("", uid)[:64]
