"""What the index keeps of an instance, read from its file in one walk."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian

from dicom_io.codecs.frame_format import NATIVE
from dicom_io.local.files import PositionedFile, Section
from serving.store.files import place_of
from serving.store.index.attributes import search_values
from serving.store.index.frames import (
    NO_FRAMES,
    FrameTable,
    UnreadableInstance,
    encapsulated_table,
    native_table,
)
from serving.store.index.header import Header, read_header
from serving.store.index.metadata import metadata_json
from serving.store.uids import InstanceUids

_CHUNK = 1 << 20
_MOST_FRAMES = 1 << 22


@dataclass(frozen=True, slots=True)
class InstanceRecord:
    """An instance as it goes into the index.

    Attributes
    ----------
    size:
        Bytes of the file.
    sha256:
        Of the file's bytes, in hexadecimal.
    path:
        Of the file, in the store's folder (``place_of``).
    origin:
        The door by which it came: ``stow``, ``watch``, ``dimse:AE_TITLE``.
    attributes:
        Texts to search by, by column.
    frames:
        Where they are in the file.
    metadata:
        Its DICOM JSON (PS3.18, annex F) without pixel data; see ``metadata_json``.
    """

    study: str
    series: str
    sop: str
    sop_class: str
    transfer_syntax: str
    size: int
    sha256: str
    path: str
    origin: str
    attributes: Mapping[str, str] = field(repr=False)
    frames: FrameTable
    metadata: bytes = field(repr=False)

    @property
    def uids(self) -> InstanceUids:
        """The UIDs that name it."""
        return InstanceUids(self.study, self.series, self.sop)


def record_of(path: Path, origin: str, sha256: str | None = None) -> InstanceRecord:
    """Read a DICOM file (PS3.10) for the index: its header, and where its frames are.

    Parameters
    ----------
    sha256:
        Of the file's bytes, in hexadecimal; computed from the file where it is not known yet.

    Raises
    ------
    UnreadableInstance
        When it is not a DICOM file, is cut off, or of a kind that is not kept here.
    ImageError, OSError
        When the system cannot read it.
    """
    opened = PositionedFile.open(path)
    try:
        file = opened.whole()
        header = read_header(file)
        uids = _uids(header.dataset)
        digest = sha256 or _digest(file)
        return InstanceRecord(
            study=uids.study,
            series=uids.series,
            sop=uids.sop,
            sop_class=str(header.dataset.get("SOPClassUID", "")),
            transfer_syntax=header.syntax,
            size=file.size,
            sha256=digest,
            path=place_of(uids, digest),
            origin=origin,
            attributes=search_values(header.dataset),
            frames=_frames(file, header),
            metadata=orjson.dumps(metadata_json(header.dataset, header.syntax)),
        )
    finally:
        opened.close()


def _uids(dataset: Dataset) -> InstanceUids:
    names = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    try:
        return InstanceUids(*(str(dataset.get(name, "")) for name in names))
    except ValueError as error:
        raise UnreadableInstance(str(error)) from error


def _frames(file: Section, header: Header) -> FrameTable:
    if header.pixels_at is None:
        return NO_FRAMES
    if header.syntax == ExplicitVRBigEndian:
        raise UnreadableInstance("explicit big endian is not kept here")
    frames = _integer(header.dataset, "NumberOfFrames", 1)
    if not 1 <= frames <= _MOST_FRAMES:
        raise UnreadableInstance("its number of frames is not a number that an image can have")
    if header.syntax not in NATIVE:
        extended = header.dataset.get("ExtendedOffsetTable")
        return encapsulated_table(
            file, header.pixels_at, frames, extended if isinstance(extended, bytes) else b""
        )
    return native_table(file, header.pixels_at, header.pixels_length, frames, _native_bytes(header.dataset))


def _native_bytes(dataset: Dataset) -> int:
    """Return the bytes of an uncompressed frame (PS3.5, 8.1 and 8.2); 0 where they are not whole ones."""
    size = 1
    for name in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated"):
        size *= max(0, _integer(dataset, name, 1 if name == "SamplesPerPixel" else 0))
    if dataset.get("PhotometricInterpretation") == "YBR_FULL_422":
        size = size * 2 // 3
    return 0 if size % 8 else size // 8


def _integer(dataset: Dataset, keyword: str, default: int) -> int:
    with contextlib.suppress(Exception):  # pydicom raises anything at hostile values
        value = dataset.get(keyword)
        return default if value is None else int(value)
    return 0


def _digest(file: Section) -> str:
    digest = hashlib.sha256()
    for at in range(0, file.size, _CHUNK):
        digest.update(file.read(at, _CHUNK))
    return digest.hexdigest()
