"""The header of an instance's file: all of its data set up to the pixels, which stay on the disk."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from dicom_io.codecs.dicom_file import PREAMBLE_BYTES, after_meta
from dicom_io.local.files import Section
from serving.store.index.frames import UnreadableInstance
from serving.store.uids import is_uid

_READS_AT_MOST = 5_000_000
"""Reads of a header: a large slide with a functional group for each frame takes about two million."""

_UNDEFINED = 0xFFFF_FFFF
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_SHORT_HEADER, _LONG_HEADER = 8, 12


@dataclass(frozen=True, slots=True)
class Header:
    """A file's header.

    Attributes
    ----------
    syntax:
        UID of the transfer syntax.
    pixels_at:
        Where the value of Pixel Data (7FE0,0010) begins; ``None`` where there is none.
    pixels_length:
        Bytes of that value; 0 of an encapsulated one, which says no length.
    """

    dataset: Dataset
    syntax: str
    pixels_at: int | None
    pixels_length: int


def read_header(file: Section) -> Header:
    """Read a header.

    Raises
    ------
    UnreadableInstance
    ImageError
        When the system cannot read the file.
    """
    if file.read(PREAMBLE_BYTES - 4, 4) != b"DICM":
        raise UnreadableInstance("it is not a DICOM file")
    stream = file.stream(_READS_AT_MOST)
    stream.seek(PREAMBLE_BYTES)
    try:
        meta = read_dataset(stream, False, True, stop_when=after_meta)
        syntax = str(meta.get("TransferSyntaxUID", ""))
        if not is_uid(syntax) or syntax in (DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian):
            raise UnreadableInstance("its transfer syntax is not one that is kept here")
        implicit = syntax == ImplicitVRLittleEndian
        dataset = read_dataset(stream, implicit, True, stop_when=_at_pixels)
        at = stream.tell()
        header = stream.read(_SHORT_HEADER if implicit else _LONG_HEADER)
        dataset.walk(_read_all)
    except (UnreadableInstance, OSError):
        raise
    except Exception as error:  # pydicom raises anything at hostile bytes; so does recursion
        raise UnreadableInstance("its data set is damaged or cut off") from error
    return _header_of(dataset, syntax, at, header, file.size)


def _read_all(dataset: Dataset, element: object) -> None:
    """Do nothing: walking over elements has them read, each raising what is wrong with it."""


def _at_pixels(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag in _PIXELS


def _header_of(dataset: Dataset, syntax: str, at: int, element: bytes, size: int) -> Header:
    if not element:
        return Header(dataset, syntax, None, 0)
    tag = int.from_bytes(element[:2], "little") << 16 | int.from_bytes(element[2:4], "little")
    if tag != _PIXELS[-1]:
        raise UnreadableInstance("its pixels are not integers, or its data set is damaged")
    length = int.from_bytes(element[-4:], "little")
    return Header(dataset, syntax, at + len(element), 0 if length == _UNDEFINED else length)
