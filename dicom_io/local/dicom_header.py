"""The header of a DICOM file on disk: what slides need of it, and where its pixels are."""

from __future__ import annotations

import base64
import contextlib
import os
import tempfile
import zlib
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_io.codecs.dicom_file import PREAMBLE_BYTES, after_meta
from dicom_io.codecs.encoded_image import DamagedImage
from dicom_io.codecs.frame_format import NATIVE, FrameFormat
from dicom_io.local.dicom_frames import FrameTable, NativeFrames, find_frames
from dicom_io.local.files import PositionedFile, Section
from dicom_io.slides.instance import SopInstance, parse_instance

_READS_AT_MOST = 5_000_000
"""Reads of a header: a large slide with a functional group for each frame takes about two million."""

MAX_UNPACKED = 64 << 30
MAX_RATIO = 300
"""Bytes that packed data may unfold to, and how many for each one beyond ``_FREE_BYTES``: native tissue
unfolds to three times its size, a blank slide to a thousand."""

_FREE_BYTES = 256 << 20
_CHUNK = 1 << 20

_INLINE = 1 << 62
"""Values of fewer bytes are part of the JSON, not referred to."""

_EXTENDED_OFFSETS = 0x7FE00001
_PIXEL_DATA = 0x7FE00010
_PIXEL_TAG = b"\xe0\x7f\x10\x00"
_TAGS = (
    *(0x00080000 + e for e in (0x05, 0x08, 0x16, 0x18, 0x19, 0x60)),
    *(0x00200000 + e for e in (0x0D, 0x0E, 0x52, 0x9161, 0x9163, 0x9228, 0x9311)),
    *(0x00280000 + e for e in (0x02, 0x04, 0x06, 0x08, 0x10, 0x11, 0x30, 0x100, 0x101, 0x102, 0x103, 0x2000)),
    *(0x00480000 + e for e in (0x01, 0x02, 0x06, 0x07, 0x105, 0x302, 0x303)),
    0x52009229,
    _EXTENDED_OFFSETS,
)
"""What ``parse_instance`` reads, and the extended offset table."""


@dataclass(frozen=True, slots=True)
class DicomFile:
    """A DICOM file whose header has been read.

    Attributes
    ----------
    file:
        The file; of a deflated data set an unpacked copy.
    objective_power:
        Objective Lens Power (0048,0112) of the first optical path.
    pixels_at:
        Where the value of Pixel Data (7FE0,0010) begins; ``None`` where there is none.
    """

    file: Section
    instance: SopInstance
    objective_power: float | None
    pixels_at: int | None
    extended_offsets: bytes | None

    @property
    def syntax(self) -> str:
        """UID of the transfer syntax."""
        return str(self.instance.transfer_syntax)

    def frames(self, form: FrameFormat) -> FrameTable:
        """Return where the frames are.

        Raises
        ------
        DamagedImage, ImageError
        """
        if self.pixels_at is None:
            raise DamagedImage("it has no pixels of 8 bits")
        if self.syntax in NATIVE:
            return NativeFrames(self.file, self.pixels_at, form.native_bytes)
        return find_frames(self.file, self.pixels_at, self.instance.frames, self.extended_offsets)


def read_header(file: Section) -> DicomFile:
    """Read a file's header.

    Raises
    ------
    DamagedImage
        When it cannot be read; the text says why.
    ImageError
        When the system cannot read it.
    """
    stream = file.stream(_READS_AT_MOST)
    stream.seek(PREAMBLE_BYTES)
    try:
        meta = read_dataset(stream, False, True, stop_when=after_meta)
        syntax = str(meta.TransferSyntaxUID)
        if syntax == DeflatedExplicitVRLittleEndian:
            file = _inflated(file, stream.tell())
            stream = file.stream(_READS_AT_MOST)
        implicit = syntax == ImplicitVRLittleEndian
        dataset = read_dataset(
            stream, implicit, True, stop_when=_at_pixels, specific_tags=[BaseTag(tag) for tag in _TAGS]
        )
        header = stream.read(8 if implicit else 12)
        document = _as_json(dataset)
    except (DamagedImage, OSError):
        raise
    except Exception as error:  # pydicom raises anything at hostile bytes
        raise DamagedImage("its data set is damaged or cut off") from error
    instance = parse_instance(document | {"00020010": {"vr": "UI", "Value": [syntax]}})
    offsets = document.get("7FE00001", {}).get("InlineBinary")
    return DicomFile(
        file,
        instance,
        _objective(dataset),
        stream.tell() if header[:4] == _PIXEL_TAG else None,
        None if offsets is None else base64.b64decode(offsets),
    )


def _at_pixels(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag in (_PIXEL_DATA, 0x7FE00008, 0x7FE00009)


def _as_json(dataset: Dataset) -> dict[str, dict[str, Any]]:
    """Return a data set as DICOM JSON, without elements that pydicom cannot read.

    Its own way to leave those out also leaves out what is only written too long, such as pixel spacings.
    """
    document = {}
    for tag in dataset.keys():  # noqa: SIM118  # a data set yields elements, and reads them for that
        with contextlib.suppress(Exception):
            document[f"{tag:08X}"] = dataset[tag].to_json_dict(None, _INLINE)
    return document


def _objective(dataset: Dataset) -> float | None:
    try:
        return float(dataset.OpticalPathSequence[0].ObjectiveLensPower)
    except Exception:  # it may be missing, empty or no number
        return None


def _inflated(file: Section, start: int) -> Section:
    """Return a deflated data set (PS3.5, A.5), unpacked to a file without a name."""
    decoder, unpacked = zlib.decompressobj(-zlib.MAX_WBITS), 0
    with tempfile.TemporaryFile() as out:
        for at in range(start, file.size, _CHUNK):
            packed = chunk = file.read(at, _CHUNK)
            while packed and not decoder.eof:
                data = decoder.decompress(packed, _CHUNK)
                packed = decoder.unconsumed_tail
                unpacked += len(data)
                require_bounded(unpacked, at - start + len(chunk) - len(packed))
                out.write(data)
        if not decoder.eof:
            raise DamagedImage("its deflated data set is cut off")
        out.flush()
        return PositionedFile(os.dup(out.fileno())).whole()


def require_bounded(unpacked: int, packed: int) -> None:
    """Refuse what unfolds to far more than it is.

    Raises
    ------
    DamagedImage
    """
    if unpacked > MAX_UNPACKED or unpacked > _FREE_BYTES + MAX_RATIO * packed:
        raise DamagedImage("it unfolds to more bytes than are unpacked here")
