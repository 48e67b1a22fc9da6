"""What a file must be to come in at all, by its header; all else is the de-identification's to refuse."""

from __future__ import annotations

import io
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from serving.store.deidentify.cleaners.syntaxes import CLEANERS, NATIVE
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
_MAX_READ = 1 << 16
_MAX_READS = 200_000
_INFLATED = 1 << 20
"""Bytes that the beginning of a deflated data set may unfold to; the names are in the first thousand."""

_META_CLASS, _META_SOP, _META_SYNTAX = 0x00020002, 0x00020003, 0x00020010
_SOP_CLASS, _SOP, _STUDY, _SERIES = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
_TAGS: list[BaseTag | int] = [BaseTag(tag) for tag in (_SOP_CLASS, _SOP, _STUDY, _SERIES)]
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
        try:
            meta, names = _read(cast(BinaryIO, _BoundedReads(file)))
        except Exception:  # pydicom raises anything at hostile bytes
            raise Unacceptable(Status.CANNOT_UNDERSTAND, "Its header is damaged or cut off.") from None
    return _checked(meta, names)


def _read(file: BinaryIO) -> tuple[dict[int, str], dict[int, str]]:
    meta = read_dataset(file, False, True, stop_when=lambda tag, _vr, _length: tag.group != 2)
    syntax = _text(meta, _META_SYNTAX)
    if syntax not in SYNTAXES:  # what follows may be deflated, or of the other byte order
        return {_META_SYNTAX: syntax, **_texts(meta, (_META_CLASS, _META_SOP))}, {}
    if syntax == DeflatedExplicitVRLittleEndian:
        file = io.BytesIO(zlib.decompressobj(-zlib.MAX_WBITS).decompress(file.read(_MAX_READ), _INFLATED))
    names = read_dataset(
        file,
        syntax == ImplicitVRLittleEndian,
        True,
        stop_when=lambda tag, _vr, _length: tag > _SERIES,
        specific_tags=_TAGS,
    )
    return (
        {_META_SYNTAX: syntax, **_texts(meta, (_META_CLASS, _META_SOP))},
        _texts(names, (_SOP_CLASS, _SOP, _STUDY, _SERIES)),
    )


def _checked(meta: dict[int, str], names: dict[int, str]) -> Header:
    sop_class, sop = names.get(_SOP_CLASS) or meta[_META_CLASS], names.get(_SOP) or meta[_META_SOP]
    sent = SopReference(_printable(sop_class), _printable(sop)) if sop_class and sop else None
    if meta[_META_SYNTAX] not in SYNTAXES:
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
    if meta[_META_SOP] not in ("", sop) or meta[_META_CLASS] not in ("", sop_class):
        raise Unacceptable(
            Status.WRONG_CLASS, "Its file meta information names another instance than its data set.", sent
        )
    try:
        uids = InstanceUids(names[_STUDY], names[_SERIES], sop)
    except ValueError as error:
        raise Unacceptable(
            Status.CANNOT_UNDERSTAND, f"It cannot be stored: {error} (PS3.5, 9.1).", sent
        ) from None
    return Header(uids, sop_class, meta[_META_SYNTAX])


def _texts(dataset: Dataset, tags: tuple[int, ...]) -> dict[int, str]:
    return {tag: _text(dataset, tag) for tag in tags}


def _text(dataset: Dataset, tag: int) -> str:
    """Return a value as it is in the file: pydicom would write one that is no UID into a warning."""
    element = dataset.get_item(tag)
    value = None if element is None else element.value
    return value.decode("ascii", "replace").rstrip("\0 ") if isinstance(value, bytes) else ""


def _printable(uid: str) -> str:
    return _UNPRINTABLE.sub("", uid)[:64]


class _BoundedReads(io.RawIOBase):
    """A file of which nothing large is read, and little often: lengths in a header may say anything."""

    def __init__(self, file: io.BufferedReader) -> None:
        super().__init__()
        self._file = file
        self._reads = 0

    def read(self, size: int = -1, /) -> bytes:
        """Read, within bounds."""
        self._reads += 1
        if not 0 <= size <= _MAX_READ or self._reads > _MAX_READS:
            raise ValueError("more is read than a header has")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go elsewhere in the file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return where it is."""
        return self._file.tell()
