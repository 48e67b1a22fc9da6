"""The API's requirements on DICOM images, as data: one row a rule.

Source: the Path Foundation API's DICOM requirements, and the parts of PS3.3 that they quote. A rule is
``NEEDED`` where the pixels could not be read rightly without it, and ``DOCUMENTED`` where the API asks
for it though they could; the latter refuse an image only when the service is set to be strict.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pydicom.uid import (
    VLMicroscopicImageStorage,
    VLSlideCoordinatesMicroscopicImageStorage,
    VLWholeSlideMicroscopyImageStorage,
)

from dicom_io.codecs.frame_format import PHOTOMETRIC
from dicom_io.errors import ImageCode, ImageError
from dicom_io.slides.attributes import ATTRIBUTES
from dicom_io.slides.instance import SopInstance

log = logging.getLogger(__name__)

SOP_CLASSES = (
    VLWholeSlideMicroscopyImageStorage,
    VLMicroscopicImageStorage,
    VLSlideCoordinatesMicroscopicImageStorage,
)
"""Kinds of images that are read."""

MIN_IMAGE_TYPES = 3
"""Values of Image Type that say which image of a slide it is (PS3.3, C.8.12.4.1.1)."""

_GRAY = ("MONOCHROME1", "MONOCHROME2")


class Grade(StrEnum):
    """How strongly a requirement is meant."""

    NEEDED = "needed"
    DOCUMENTED = "documented"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One rule.

    Attributes
    ----------
    keyword, tag:
        The attribute, as PS3.6 names it.
    holds:
        Whether an instance meets the rule.
    sentence:
        What the caller reads, after the name of the attribute.
    applies:
        Which instances it is about.
    """

    keyword: str
    tag: str
    holds: Callable[[SopInstance], bool]
    sentence: str
    grade: Grade = Grade.NEEDED
    code: ImageCode = ImageCode.DICOM_ERROR
    applies: Callable[[SopInstance], bool] = lambda _: True

    @property
    def clause(self) -> str:
        """Where the rule comes from."""
        return f"Path Foundation API, DICOM requirements; {ATTRIBUTES[self.keyword].clause}"

    def found(self, instance: SopInstance) -> str | None:
        """Return what an instance has there, as text; ``None`` where it is missing or malformed."""
        return ATTRIBUTES[self.keyword].found(instance)

    def refuses(self, *, strict: bool) -> bool:
        """Return whether an instance that breaks the rule is refused; see ``require_valid``."""
        return self.grade is Grade.NEEDED or strict


def _is_positive(value: float | None) -> bool:
    return value is not None and value > 0


def _is_whole_slide(instance: SopInstance) -> bool:
    return instance.is_whole_slide


def _is_single(instance: SopInstance) -> bool:
    return not instance.is_whole_slide


REQUIREMENTS: Sequence[Requirement] = (
    Requirement("SOPClassUID", "0008,0016", lambda i: i.sop_class in SOP_CLASSES,
                "must be VL Whole Slide Microscopy, VL Microscopic or VL Slide-Coordinates Microscopic"),
    Requirement("SOPInstanceUID", "0008,0018", lambda i: bool(i.sop_uid), "must be there"),
    Requirement("SeriesInstanceUID", "0020,000E", lambda i: bool(i.series_uid), "must be there"),
    Requirement("StudyInstanceUID", "0020,000D", lambda i: bool(i.study_uid), "must be there"),
    Requirement("ImageType", "0008,0008", lambda i: len(i.image_type) >= MIN_IMAGE_TYPES,
                "must have at least three values", applies=_is_whole_slide),
    Requirement("Rows", "0028,0010", lambda i: _is_positive(i.rows), "must be a positive number"),
    Requirement("Columns", "0028,0011", lambda i: _is_positive(i.columns), "must be a positive number"),
    Requirement("TotalPixelMatrixColumns", "0048,0006", lambda i: _is_positive(i.total_columns),
                "must be a positive number", applies=_is_whole_slide),
    Requirement("TotalPixelMatrixRows", "0048,0007", lambda i: _is_positive(i.total_rows),
                "must be a positive number", applies=_is_whole_slide),
    Requirement("ImagedVolumeWidth", "0048,0001", lambda i: _is_positive(i.imaged_width),
                "must be a positive number of mm", applies=_is_whole_slide),
    Requirement("ImagedVolumeHeight", "0048,0002", lambda i: _is_positive(i.imaged_height),
                "must be a positive number of mm", applies=_is_whole_slide),
    Requirement("NumberOfFrames", "0028,0008", lambda i: i.frames == 1,
                "must be 1, since this kind of image has a single frame", applies=_is_single),
    Requirement("NumberOfFrames", "0028,0008", lambda i: i.frames >= 1, "must be positive",
                applies=_is_whole_slide),
    Requirement("SamplesPerPixel", "0028,0002", lambda i: i.samples in (1, 3), "must be 1 or 3"),
    Requirement("PhotometricInterpretation", "0028,0004", lambda i: i.photometric != "PALETTE COLOR",
                "is PALETTE COLOR, which is not supported; convert the image to RGB"),
    Requirement("PhotometricInterpretation", "0028,0004",
                lambda i: i.photometric == "PALETTE COLOR" or i.photometric in PHOTOMETRIC,
                f"must be one of {', '.join(PHOTOMETRIC)}"),
    Requirement("PhotometricInterpretation", "0028,0004",
                lambda i: (i.photometric in _GRAY) == (i.samples == 1),
                "must be MONOCHROME1 or MONOCHROME2 with one sample a pixel, and a colour with three",
                applies=lambda i: i.photometric in PHOTOMETRIC and i.samples in (1, 3)),
    Requirement("BitsAllocated", "0028,0100", lambda i: i.bits_allocated == 8, "must be 8"),
    Requirement("HighBit", "0028,0102", lambda i: i.high_bit == 7, "must be 7"),
    Requirement("PixelRepresentation", "0028,0103", lambda i: i.pixel_representation in (0, None),
                "must be 0 (unsigned)"),
    Requirement("PlanarConfiguration", "0028,0006", lambda i: i.planar in (0, 1), "must be 0 or 1"),
    Requirement("DimensionOrganizationType", "0020,9311", lambda i: i.organization == "TILED_FULL",
                "must be TILED_FULL when there is more than one frame", code=ImageCode.DICOM_TILED_FULL_ERROR,
                applies=lambda i: i.is_whole_slide and i.frames > 1),
    Requirement("TotalPixelMatrixFocalPlanes", "0048,0303", lambda i: i.focal_planes == 1,
                "must be 1; images of several focal planes are not supported", applies=_is_whole_slide),
    Requirement("NumberOfOpticalPaths", "0048,0302", lambda i: i.optical_paths == 1,
                "must be 1; images of several optical paths are not supported"),
    Requirement("Modality", "0008,0060", lambda i: i.modality == "SM", "must be SM",
                grade=Grade.DOCUMENTED),
    Requirement("BitsStored", "0028,0101", lambda i: i.bits_stored == 8, "must be 8",
                grade=Grade.DOCUMENTED),
    Requirement("PixelRepresentation", "0028,0103", lambda i: i.pixel_representation is not None,
                "must be there", grade=Grade.DOCUMENTED),
    Requirement("OpticalPathSequence", "0048,0105", lambda i: i.has_optical_path_sequence, "must be there",
                grade=Grade.DOCUMENTED, applies=_is_whole_slide),
    Requirement("PixelSpacing", "0028,0030", lambda i: i.has_pixel_spacing, "must be there",
                grade=Grade.DOCUMENTED, applies=_is_whole_slide),
    Requirement("FrameOfReferenceUID", "0020,0052", lambda i: bool(i.frame_of_reference_uid), "must be there",
                grade=Grade.DOCUMENTED, applies=_is_whole_slide),
)  # fmt: skip
"""Every rule about a single instance, in the order in which they are checked."""


def require_valid(instance: SopInstance, *, strict: bool) -> None:
    """Hold an instance to the requirements.

    Parameters
    ----------
    strict:
        Whether a merely documented requirement refuses the image; else it is listed in the log.

    Raises
    ------
    ImageError
        With the code of the first rule that is broken, the attribute and the instance.
    """
    remarks = []
    for rule in REQUIREMENTS:
        if not rule.applies(instance) or rule.holds(instance):
            continue
        if rule.refuses(strict=strict):
            raise ImageError(
                rule.code,
                f"{rule.keyword} ({rule.tag}) {rule.sentence}; SOP instance {instance.sop_uid}.",
            )
        remarks.append(rule.keyword)
    if remarks:
        log.info("DICOM requirements not met", extra={"reason": ", ".join(remarks)})
