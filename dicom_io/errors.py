"""What can be wrong with an image or its store: codes, a value, and the exception that unwinds with it.

::

    ImageError            the image cannot be read; .fault is what remains of it once it has been caught
    ├── StoreStatusError  the store answered with a status that is not a success   (web/http.py)
    └── LostConnection    the connection ended early; another try may succeed      (web/http.py)

A description says what is wrong. What the caller could do about it often depends on how the image was asked
for, which is not known here: a ``Remedy`` names the kind of change, and the caller puts it into words.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum, auto


class ImageCode(StrEnum):
    """Kinds of faults. The names are those of the Path Foundation API, where it has one."""

    INVALID_REQUEST_FIELD_ERROR = "INVALID_REQUEST_FIELD_ERROR"
    INVALID_CREDENTIALS_ERROR = "INVALID_CREDENTIALS_ERROR"
    HTTP_ERROR = "HTTP_ERROR"
    IMAGE_ERROR = "IMAGE_ERROR"
    IMAGE_DIMENSION_ERROR = "IMAGE_DIMENSION_ERROR"
    PATCH_OUTSIDE_OF_IMAGE_DIMENSIONS_ERROR = "PATCH_OUTSIDE_OF_IMAGE_DIMENSIONS_ERROR"
    INVALID_ICC_PROFILE_TRANSFORM_ERROR = "INVALID_ICC_PROFILE_TRANSFORM_ERROR"
    LEVEL_NOT_FOUND_ERROR = "LEVEL_NOT_FOUND_ERROR"
    INSTANCES_NOT_CONCATENATED_ERROR = "INSTANCES_NOT_CONCATENATED_ERROR"
    DICOM_TILED_FULL_ERROR = "DICOM_TILED_FULL_ERROR"
    DICOM_IMAGE_DOWNSAMPLING_TOO_LARGE_ERROR = "DICOM_IMAGE_DOWNSAMPLING_TOO_LARGE_ERROR"
    DICOM_ERROR = "DICOM_ERROR"
    DICOM_PATH_ERROR = "DICOM_PATH_ERROR"
    UNAPPROVED_DICOM_STORE_ERROR = "UNAPPROVED_DICOM_STORE_ERROR"
    UNAPPROVED_GCS_BUCKET_ERROR = "UNAPPROVED_GCS_BUCKET_ERROR"
    EZ_WSI_STATE_ERROR = "EZ_WSI_STATE_ERROR"
    INTERNAL_ERROR = "INTERNAL_ERROR"


class Remedy(Enum):
    """What the caller could change."""

    ALLOW_OUTSIDE = auto()
    """Move the patch, or allow patches that are partly outside of the image."""
    ANOTHER_SIZE = auto()
    """Ask for another size of the whole image."""
    COLOUR_AS_STORED = auto()
    """Ask for the pixels as they are stored, without a colour transform."""
    A_TOKEN = auto()
    """Send a token that may read what was asked for."""
    A_STORE = auto()
    """Put the DICOM file into a DICOM store and read it from there."""
    APPROVE_STORE = auto()
    """Put the store on the allow-list of DICOM stores."""
    APPROVE_BUCKET = auto()
    """Put the bucket on the allow-list of Cloud Storage."""
    ALLOW_HTTP = auto()
    """Allow plain HTTP to stores on other machines."""
    ALLOW_PRIVATE = auto()
    """Allow stores at private addresses."""


@dataclass(frozen=True, slots=True)
class ImageFault:
    """Why an image cannot be read.

    A value, not an exception: what is kept must not hold the frames that an exception went through, and by
    them an image's bytes.

    Attributes
    ----------
    description:
        One or two sentences. Never a token, image bytes or patient data.
    remedy:
        What the caller could change; ``None`` where the description says all there is to say.
    """

    code: ImageCode
    description: str
    remedy: Remedy | None = None


class ImageError(Exception):
    """An image cannot be read; see ``ImageFault``."""

    def __init__(self, code: ImageCode, description: str, remedy: Remedy | None = None) -> None:
        self.code, self.description = code, description
        self.fault = ImageFault(code, description, remedy)
        super().__init__(f"{code}: {description}")

    @staticmethod
    def of(fault: ImageFault) -> ImageError:
        """Return an exception of a fault, without the frames of the one that it was first raised by."""
        return ImageError(fault.code, fault.description, fault.remedy)
