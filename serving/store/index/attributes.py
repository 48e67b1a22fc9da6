"""What is searched by and answered at each level: a row here is a column of the level's table.

Of studies and series those that PS3.18, section 10.6.3, requires and clients ask for; of instances, what
tells the images of a slide apart.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from pydicom.datadict import dictionary_VM, dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue


class Level(IntEnum):
    """Of the hierarchy, from the top."""

    STUDY = 1
    SERIES = 2
    INSTANCE = 3


@dataclass(frozen=True, slots=True)
class Attribute:
    r"""An attribute that is kept in a column.

    Attributes
    ----------
    keyword:
        As PS3.6 has it; in lower case the name of the column.
    tag:
        Eight hexadecimal digits.
    is_many:
        Whether it may have several values: then a column holds ``\A\B\``.
    """

    keyword: str
    tag: str
    vr: str
    level: Level
    is_many: bool

    @property
    def column(self) -> str:
        """Name of the column."""
        return self.keyword.lower()


_KEYWORDS: Mapping[Level, tuple[str, ...]] = {
    Level.STUDY: (
        "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "PatientName", "PatientID",
        "PatientBirthDate", "PatientSex", "StudyID", "StudyDescription",
    ),
    Level.SERIES: (
        "Modality", "SeriesNumber", "SeriesDescription", "SeriesDate", "SeriesTime",
        "PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime", "Manufacturer",
        "ManufacturerModelName", "BodyPartExamined",
    ),
    Level.INSTANCE: (
        "SOPClassUID", "InstanceNumber", "ImageType", "ContentDate", "ContentTime", "AcquisitionDateTime",
        "ContainerIdentifier", "Rows", "Columns", "NumberOfFrames", "BitsAllocated",
        "PhotometricInterpretation",
        "TotalPixelMatrixColumns", "TotalPixelMatrixRows", "DimensionOrganizationType", "ConcatenationUID",
        "InConcatenationNumber", "FrameOfReferenceUID", "PyramidUID",
    ),
}  # fmt: skip

_LONGEST = 1024
"""Characters of a value that are kept to be searched by."""


def _attribute(keyword: str, level: Level) -> Attribute:
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword
    return Attribute(keyword, f"{tag:08X}", dictionary_VR(tag), level, dictionary_VM(tag) != "1")


ATTRIBUTES: Final = tuple(_attribute(name, level) for level, names in _KEYWORDS.items() for name in names)
"""All of them, in the order of the levels."""


def attributes_of(level: Level) -> tuple[Attribute, ...]:
    """Return those of one level."""
    return tuple(attribute for attribute in ATTRIBUTES if attribute.level is level)


def search_values(dataset: Dataset) -> dict[str, str]:
    """Return the values of a data set by column; what is empty or cannot be read is left out."""
    found = {}
    for attribute in ATTRIBUTES:
        with contextlib.suppress(Exception):  # pydicom raises anything at hostile values
            if text := _text(dataset.get(attribute.keyword), attribute):
                found[attribute.column] = text
    return found


def _text(value: object, attribute: Attribute) -> str:
    if value is None:
        return ""
    values = [str(one).strip(" \0") for one in (value if isinstance(value, MultiValue) else [value])]
    if attribute.is_many:
        joined = "\\".join(values)[:_LONGEST]
        return f"\\{joined}\\" if joined else ""
    text = values[0] if values else ""
    if attribute.vr in ("DA", "TM"):
        text = text.replace(".", "", 2) if attribute.vr == "DA" else text.replace(":", "")
    return text.replace("\0", "")[:_LONGEST]
