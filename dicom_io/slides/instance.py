"""The metadata of one SOP instance: DICOM JSON (PS3.18, annex F) to a frozen record."""

from __future__ import annotations

import base64
import dataclasses
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from pydicom.uid import VLWholeSlideMicroscopyImageStorage

MAX_ICC_BYTES = 16 << 20

JsonDataset = Mapping[str, object]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class IccReference:
    """Where an ICC profile is: in the metadata itself, or at an address in the store.

    What is inline and cannot be read, or is larger than ``MAX_ICC_BYTES``, is kept as no bytes: a profile
    that does not work.
    """

    inline: bytes | None
    uri: str | None

    @property
    def kept_bytes(self) -> int:
        """Bytes that it takes in memory."""
        return sys.getsizeof(self) + sys.getsizeof(self.inline) + sys.getsizeof(self.uri)


@dataclass(frozen=True, slots=True)
class SopInstance:
    """One SOP instance; ``None`` stands for an attribute that is missing or malformed.

    Sizes are in pixels; ``imaged_width`` and ``imaged_height`` are in mm, and so is ``pixel_spacing``: from
    row to row, then from column to column (PS3.3, 10.7.1.3). ``frame_offset`` counts the level's frames
    before this part of a concatenation. ``transfer_syntaxes`` are those in which the store has it: the
    one that it is stored in first, where the store says which that is; else in the order of their UIDs.
    """

    sop_class: str | None
    sop_uid: str | None
    series_uid: str | None
    study_uid: str | None
    modality: str | None
    image_type: tuple[str, ...]
    rows: int | None
    columns: int | None
    total_rows: int | None
    total_columns: int | None
    frames: int
    samples: int | None
    bits_allocated: int | None
    bits_stored: int | None
    high_bit: int | None
    pixel_representation: int | None
    photometric: str | None
    planar: int
    organization: str | None
    imaged_width: float | None
    imaged_height: float | None
    focal_planes: int
    optical_paths: int
    has_optical_path_sequence: bool
    has_pixel_spacing: bool
    pixel_spacing: tuple[float, float] | None
    concatenation_uid: str | None
    concatenation_parts: int | None
    frame_offset: int
    pyramid_uid: str | None
    frame_of_reference_uid: str | None
    transfer_syntaxes: tuple[str, ...]
    icc: IccReference | None

    @property
    def is_whole_slide(self) -> bool:
        """Whether it is a tiled VL Whole Slide Microscopy image (PS3.3, A.32.8)."""
        return self.sop_class == VLWholeSlideMicroscopyImageStorage

    @property
    def is_level(self) -> bool:
        """Whether it is an image of the pyramid, by the third and fourth value of Image Type.

        Labels and overviews are not, nor is a thumbnail that was not resampled from the volume
        (PS3.3, C.8.12.4.1.1).
        """
        if not self.is_whole_slide:
            return True
        flavour = self.image_type[2:3]
        return flavour == ("VOLUME",) or (self.is_thumbnail and "RESAMPLED" in self.image_type[3:])

    @property
    def is_thumbnail(self) -> bool:
        """Whether it is a whole-slide image's thumbnail."""
        return self.is_whole_slide and self.image_type[2:3] == ("THUMBNAIL",)

    @property
    def transfer_syntax(self) -> str | None:
        """The transfer syntax that it is most likely stored in."""
        return next(iter(self.transfer_syntaxes), None)

    @property
    def is_meagre(self) -> bool:
        """Whether so much is missing that the metadata must have been cut down to a summary."""
        return None in (self.sop_class, self.rows, self.columns, self.samples, self.bits_allocated)

    @property
    def kept_bytes(self) -> int:
        """Bytes that it takes in memory."""
        values = [getattr(self, each.name) for each in dataclasses.fields(self)]
        texts = (*self.image_type, *self.transfer_syntaxes)
        size = sys.getsizeof(self) + sum(map(sys.getsizeof, (*values, *texts)))
        return size + (0 if self.icc is None else self.icc.kept_bytes)


def parse_instance(dataset: JsonDataset) -> SopInstance:
    """Read the attributes that matter from one instance's metadata."""
    read = _Attributes(dataset)
    paths = read.items("00480105")
    shared = [_Attributes(item) for item in read.items("52009229")]
    measures = [_Attributes(m) for item in shared for m in item.items("00289110")]
    return SopInstance(
        sop_class=read.text("00080016"),
        sop_uid=read.text("00080018"),
        series_uid=read.text("0020000E"),
        study_uid=read.text("0020000D"),
        modality=read.text("00080060"),
        image_type=read.texts("00080008"),
        rows=read.integer("00280010"),
        columns=read.integer("00280011"),
        total_rows=read.integer("00480007"),
        total_columns=read.integer("00480006"),
        frames=_or(read.integer("00280008"), 1),
        samples=read.integer("00280002"),
        bits_allocated=read.integer("00280100"),
        bits_stored=read.integer("00280101"),
        high_bit=read.integer("00280102"),
        pixel_representation=read.integer("00280103"),
        photometric=read.text("00280004"),
        planar=_or(read.integer("00280006"), 0),
        organization=read.text("00209311"),
        imaged_width=read.number("00480001"),
        imaged_height=read.number("00480002"),
        focal_planes=_or(read.integer("00480303"), 1),
        optical_paths=max(_or(read.integer("00480302"), 1), len(paths)),
        has_optical_path_sequence=bool(paths),
        has_pixel_spacing=bool(read.values("00280030")) or any(m.has("00280030") for m in measures),
        pixel_spacing=next(filter(None, (m.pair("00280030") for m in (*measures, read))), None),
        concatenation_uid=read.text("00209161"),
        concatenation_parts=read.integer("00209163"),
        frame_offset=_or(read.integer("00209228"), 0),
        pyramid_uid=read.text("00080019"),
        frame_of_reference_uid=read.text("00200052"),
        transfer_syntaxes=tuple(
            filter(None, dict.fromkeys((*read.texts("00020010")[:1], *sorted(read.texts("00083002")))))
        ),
        icc=(_Attributes(paths[0]).icc() if paths else None) or read.icc(),
    )


_PADDING = " \0"


def _or(value: T | None, default: T) -> T:
    return default if value is None else value


class _Attributes:
    """Typed access to a DICOM JSON data set; values of the wrong type are ``None``."""

    def __init__(self, dataset: JsonDataset) -> None:
        self._dataset = dataset

    def values(self, tag: str) -> list[object]:
        element = self._dataset.get(tag)
        found = element.get("Value") if isinstance(element, dict) else None
        return found if isinstance(found, list) else []

    def has(self, tag: str) -> bool:
        return tag in self._dataset

    def items(self, tag: str) -> list[JsonDataset]:
        return [item for item in self.values(tag) if isinstance(item, dict)]

    def texts(self, tag: str) -> tuple[str, ...]:
        """Return all values; spaces and NUL around them only make their length even (PS3.5, 6.2)."""
        return tuple(v.strip(_PADDING) if isinstance(v, str) else "" for v in self.values(tag))

    def text(self, tag: str) -> str | None:
        first = next(iter(self.values(tag)), None)
        return first.strip(_PADDING) or None if isinstance(first, str) else None

    def number(self, tag: str) -> float | None:
        return _number(next(iter(self.values(tag)), None))

    def pair(self, tag: str) -> tuple[float, float] | None:
        match [_number(value) for value in self.values(tag)]:
            case [float(first), float(second)]:
                return first, second
        return None

    def integer(self, tag: str) -> int | None:
        value = self.number(tag)
        return int(value) if value is not None and value.is_integer() and abs(value) < 2**53 else None

    def icc(self) -> IccReference | None:
        element = self._dataset.get("00282000")
        if not isinstance(element, dict):
            return None
        inline, uri = element.get("InlineBinary"), element.get("BulkDataURI")
        if isinstance(inline, str) and inline:
            if len(inline) > MAX_ICC_BYTES * 4 // 3 + 4:
                return IccReference(b"", None)
            try:
                return IccReference(base64.b64decode(inline, validate=True), None)
            except ValueError:
                return IccReference(b"", None)
        return IccReference(None, uri) if isinstance(uri, str) and uri else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)  # DS may come as a string (PS3.18, F.2.3.1)
    except (ValueError, OverflowError):
        return None
