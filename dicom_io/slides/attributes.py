"""The attributes that the requirements on DICOM images are about: where they are defined, what is found.

All of them are technical. What is shown of a value is short, and only of the characters that its value
representation allows: a store may have anything there, and answers are kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dicom_io.slides.instance import SopInstance

MOST_TOLD = 512
"""Characters of a sentence in which a store's or a file's UIDs are quoted."""

MOST_SHOWN = 64
"""Characters of a value that are shown: of a UID all (PS3.5, 9.1)."""

_SHOWN = re.compile(r"[A-Z0-9_.\\ -]*")
"""Code strings, UIDs and numbers, several with backslashes between them (PS3.5, 6.2)."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute.

    Attributes
    ----------
    clause:
        Where DICOM defines it.
    value:
        Reads it; a boolean is whether it is there.
    """

    clause: str
    value: Callable[[SopInstance], object]

    def found(self, instance: SopInstance) -> str | None:
        """Return what an instance has, as text; ``None`` where it is missing or malformed."""
        return _text(self.value(instance))


def printable(text: str) -> str:
    """Return a text without what a terminal could take for a command, and not too long."""
    return "".join(one if one.isprintable() else " " for one in text[:MOST_TOLD])


def _text(value: object) -> str | None:
    if value is True:
        return "present"
    if value is None or value is False or value in ("", ()):
        return None
    values = value if isinstance(value, tuple) else (value,)
    text = "\\".join(f"{one:.10G}" if isinstance(one, float) else str(one) for one in values)
    if not _SHOWN.fullmatch(text):
        return "(not shown: it has characters that do not belong there)"
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 1]}…"


ATTRIBUTES: Mapping[str, Attribute] = {
    "SOPClassUID": Attribute("PS3.3, C.12.1", lambda i: i.sop_class),
    "SOPInstanceUID": Attribute("PS3.3, C.12.1", lambda i: i.sop_uid),
    "SeriesInstanceUID": Attribute("PS3.3, C.7.3.1", lambda i: i.series_uid),
    "StudyInstanceUID": Attribute("PS3.3, C.7.2.1", lambda i: i.study_uid),
    "ImageType": Attribute("PS3.3, C.8.12.4.1.1", lambda i: i.image_type),
    "Rows": Attribute("PS3.3, C.7.6.3", lambda i: i.rows),
    "Columns": Attribute("PS3.3, C.7.6.3", lambda i: i.columns),
    "TotalPixelMatrixColumns": Attribute("PS3.3, C.8.12.4", lambda i: i.total_columns),
    "TotalPixelMatrixRows": Attribute("PS3.3, C.8.12.4", lambda i: i.total_rows),
    "ImagedVolumeWidth": Attribute("PS3.3, C.8.12.4.1.2", lambda i: i.imaged_width),
    "ImagedVolumeHeight": Attribute("PS3.3, C.8.12.4.1.2", lambda i: i.imaged_height),
    "NumberOfFrames": Attribute("PS3.3, C.7.6.6", lambda i: i.frames),
    "SamplesPerPixel": Attribute("PS3.3, C.7.6.3.1.1", lambda i: i.samples),
    "PhotometricInterpretation": Attribute("PS3.3, C.7.6.3.1.2", lambda i: i.photometric),
    "BitsAllocated": Attribute("PS3.3, C.7.6.3", lambda i: i.bits_allocated),
    "BitsStored": Attribute("PS3.3, C.7.6.3", lambda i: i.bits_stored),
    "HighBit": Attribute("PS3.3, C.7.6.3", lambda i: i.high_bit),
    "PixelRepresentation": Attribute("PS3.3, C.7.6.3", lambda i: i.pixel_representation),
    "PlanarConfiguration": Attribute("PS3.3, C.7.6.3.1.3", lambda i: i.planar),
    "DimensionOrganizationType": Attribute("PS3.3, C.7.6.17.3", lambda i: i.organization),
    "TotalPixelMatrixFocalPlanes": Attribute("PS3.3, C.8.12.4", lambda i: i.focal_planes),
    "NumberOfOpticalPaths": Attribute("PS3.3, C.8.12.5", lambda i: i.optical_paths),
    "Modality": Attribute("PS3.3, C.7.3.1", lambda i: i.modality),
    "OpticalPathSequence": Attribute("PS3.3, C.8.12.5", lambda i: i.has_optical_path_sequence),
    "PixelSpacing": Attribute("PS3.3, C.7.6.16.2.1", lambda i: i.pixel_spacing or i.has_pixel_spacing),
    "FrameOfReferenceUID": Attribute("PS3.3, C.7.4.1", lambda i: i.frame_of_reference_uid),
}
"""By keyword, as PS3.6 names them."""
