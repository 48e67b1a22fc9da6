"""The table of error codes, the faults that outcomes are, and the exception that fails a whole request.

Faults of images come from ``dicom_io``, which knows no API and no settings; ``fault_of`` adds the names of
the fields and variables by which a caller can put one right.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus

from dicom_io.errors import ImageCode, ImageFault, Remedy

MAX_DESCRIPTION_LENGTH = 1024
"""Longest description sent to a client, in characters (Path Foundation API)."""

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


class Code(StrEnum):
    """Every code a client can receive. The names are the Path Foundation API's where it has one."""

    INVALID_REQUEST_FIELD_ERROR = "INVALID_REQUEST_FIELD_ERROR"
    INVALID_CREDENTIALS_ERROR = "INVALID_CREDENTIALS_ERROR"
    HTTP_ERROR = "HTTP_ERROR"
    IMAGE_ERROR = "IMAGE_ERROR"
    IMAGE_DIMENSION_ERROR = "IMAGE_DIMENSION_ERROR"
    INCOMPATIBLE_PATCH_DIMENSIONS_ERROR = "INCOMPATIBLE_PATCH_DIMENSIONS_ERROR"
    PATCH_OUTSIDE_OF_IMAGE_DIMENSIONS_ERROR = "PATCH_OUTSIDE_OF_IMAGE_DIMENSIONS_ERROR"
    INVALID_ICC_PROFILE_TRANSFORM_ERROR = "INVALID_ICC_PROFILE_TRANSFORM_ERROR"
    GCS_IMAGE_PATH_FORMAT_ERROR = "GCS_IMAGE_PATH_FORMAT_ERROR"
    LEVEL_NOT_FOUND_ERROR = "LEVEL_NOT_FOUND_ERROR"
    INSTANCES_NOT_CONCATENATED_ERROR = "INSTANCES_NOT_CONCATENATED_ERROR"
    DICOM_TILED_FULL_ERROR = "DICOM_TILED_FULL_ERROR"
    DICOM_IMAGE_DOWNSAMPLING_TOO_LARGE_ERROR = "DICOM_IMAGE_DOWNSAMPLING_TOO_LARGE_ERROR"
    DICOM_ERROR = "DICOM_ERROR"
    DICOM_PATH_ERROR = "DICOM_PATH_ERROR"
    UNAPPROVED_DICOM_STORE_ERROR = "UNAPPROVED_DICOM_STORE_ERROR"
    UNAPPROVED_GCS_BUCKET_ERROR = "UNAPPROVED_GCS_BUCKET_ERROR"
    EZ_WSI_STATE_ERROR = "EZ_WSI_STATE_ERROR"
    MAGNIFICATION_ERROR = "MAGNIFICATION_ERROR"
    TOO_MANY_PATCHES_ERROR = "TOO_MANY_PATCHES_ERROR"
    API_KEY_ERROR = "API_KEY_ERROR"
    REQUEST_TIMEOUT_ERROR = "REQUEST_TIMEOUT_ERROR"
    REQUEST_TOO_LARGE_ERROR = "REQUEST_TOO_LARGE_ERROR"
    URI_TOO_LONG_ERROR = "URI_TOO_LONG_ERROR"
    CONTENT_ENCODING_ERROR = "CONTENT_ENCODING_ERROR"
    HEADERS_TOO_LARGE_ERROR = "HEADERS_TOO_LARGE_ERROR"
    BODY_REQUIRED_ERROR = "BODY_REQUIRED_ERROR"
    FORBIDDEN_ERROR = "FORBIDDEN_ERROR"
    NOT_FOUND_ERROR = "NOT_FOUND_ERROR"
    METHOD_NOT_ALLOWED_ERROR = "METHOD_NOT_ALLOWED_ERROR"
    NOT_ACCEPTABLE_ERROR = "NOT_ACCEPTABLE_ERROR"
    SERVICE_UNAVAILABLE_ERROR = "SERVICE_UNAVAILABLE_ERROR"
    INTERNAL_ERROR = "INTERNAL_ERROR"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table.

    Attributes
    ----------
    meaning:
        What a client should understand by the code.
    in_instance:
        Whether it may stand in ``predictions[i].error`` of an HTTP 200 answer.
    status:
        The HTTP status when it fails the whole request; ``None`` where it never does.
    """

    meaning: str
    in_instance: bool = True
    status: HTTPStatus | None = None


def _whole(status: HTTPStatus, meaning: str) -> Row:
    """Return the row of a code that always fails the whole request."""
    return Row(meaning, in_instance=False, status=status)


TABLE: Mapping[Code, Row] = {
    Code.INVALID_REQUEST_FIELD_ERROR: Row(
        "A field is missing, of the wrong type or out of range; "
        "for the whole request when `instances` itself cannot be read.",
        status=HTTPStatus.BAD_REQUEST,
    ),
    Code.INVALID_CREDENTIALS_ERROR: Row("The store refused the bearer token, or requires one."),
    Code.HTTP_ERROR: Row("The store could not be reached or answered with a fault."),
    Code.IMAGE_ERROR: Row("The image cannot be decoded, or is of a kind that is not supported."),
    Code.IMAGE_DIMENSION_ERROR: Row("The image, or the size asked for, is too large or empty."),
    Code.INCOMPATIBLE_PATCH_DIMENSIONS_ERROR: Row("A patch is not 224 x 224 pixels."),
    Code.PATCH_OUTSIDE_OF_IMAGE_DIMENSIONS_ERROR: Row(
        "A patch is not fully inside the image, and the request did not allow that."
    ),
    Code.INVALID_ICC_PROFILE_TRANSFORM_ERROR: Row(
        "The colour transform is unknown, or the image's ICC profile cannot be used for it."
    ),
    Code.GCS_IMAGE_PATH_FORMAT_ERROR: Row("`image_file_uri` is not of the form gs://bucket/object."),
    Code.LEVEL_NOT_FOUND_ERROR: Row("`instance_uids` names no image of the series' pyramid."),
    Code.INSTANCES_NOT_CONCATENATED_ERROR: Row(
        "`instance_uids` names several instances that are not parts of one concatenation."
    ),
    Code.DICOM_TILED_FULL_ERROR: Row("The DICOM image has several frames and is not TILED_FULL."),
    Code.DICOM_IMAGE_DOWNSAMPLING_TOO_LARGE_ERROR: Row(
        "`image_dimensions` would shrink the DICOM level more than 8 times."
    ),
    Code.DICOM_ERROR: Row("The DICOM metadata or frames do not meet the API's requirements."),
    Code.DICOM_PATH_ERROR: Row("`series_path` is malformed or names no series in the store."),
    Code.UNAPPROVED_DICOM_STORE_ERROR: Row("The DICOM store is not on this service's allow-list."),
    Code.UNAPPROVED_GCS_BUCKET_ERROR: Row("The GCS bucket is not on this service's allow-list."),
    Code.EZ_WSI_STATE_ERROR: Row("`ez_wsi_state` is malformed or contradicts the request."),
    Code.MAGNIFICATION_ERROR: Row(
        "The image's pixels are larger or smaller than the model is made for, or of unknown size, and this "
        "service's guard refuses that."
    ),
    Code.TOO_MANY_PATCHES_ERROR: Row(
        "More patches than one request may hold.", status=HTTPStatus.BAD_REQUEST
    ),
    Code.API_KEY_ERROR: _whole(
        HTTPStatus.UNAUTHORIZED, "This service requires one of its own keys, and the request had none."
    ),
    Code.REQUEST_TIMEOUT_ERROR: _whole(
        HTTPStatus.REQUEST_TIMEOUT, "The request did not arrive in time, or came too slowly."
    ),
    Code.REQUEST_TOO_LARGE_ERROR: _whole(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is larger than this service accepts."
    ),
    Code.URI_TOO_LONG_ERROR: _whole(HTTPStatus.REQUEST_URI_TOO_LONG, "The request line is too long."),
    Code.CONTENT_ENCODING_ERROR: _whole(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "The body's Content-Encoding is not supported; send it plain or as gzip.",
    ),
    Code.HEADERS_TOO_LARGE_ERROR: _whole(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The request's headers are too many or too long."
    ),
    Code.BODY_REQUIRED_ERROR: _whole(
        HTTPStatus.LENGTH_REQUIRED, "The request has no body, and this route needs one (webhooks)."
    ),
    Code.FORBIDDEN_ERROR: _whole(
        HTTPStatus.FORBIDDEN,
        "The request names a server that this service is not set up for (webhooks), the token lacks the "
        "right (store), or it comes from elsewhere than the page (view).",
    ),
    Code.NOT_FOUND_ERROR: _whole(HTTPStatus.NOT_FOUND, "No such path on this service."),
    Code.METHOD_NOT_ALLOWED_ERROR: _whole(
        HTTPStatus.METHOD_NOT_ALLOWED, "The path exists, the HTTP method does not."
    ),
    Code.NOT_ACCEPTABLE_ERROR: _whole(
        HTTPStatus.NOT_ACCEPTABLE,
        "Nothing that the Accept header (slide store) or Accept-Encoding header (predictions) names can be "
        "sent.",
    ),
    Code.SERVICE_UNAVAILABLE_ERROR: _whole(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Overloaded, draining, out of time, or the encoder is down: try again after `Retry-After` seconds.",
    ),
    Code.INTERNAL_ERROR: Row(
        "A fault of this service; its log has the request id.",
        status=HTTPStatus.INTERNAL_SERVER_ERROR,
    ),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an instance, or a request, has no vectors: a code of the table, and what to do about it.

    A value, not an exception: what is kept until a request ends must not hold the frames that it was
    raised in, and by them an image's bytes.
    """

    code: str
    description: str

    def as_json(self) -> dict[str, str]:
        """Return the ``{"code", "description"}`` object of the API."""
        return {"code": str(self.code), "description": self.description}


_REMEDIES: Mapping[Remedy | ImageCode, str] = {
    Remedy.ALLOW_OUTSIDE: "Move it inside, or set extensions.require_patches_fully_in_source_image to false "
    "to fill with black.",
    Remedy.ANOTHER_SIZE: "Change extensions.image_dimensions.",
    Remedy.COLOUR_AS_STORED: "Or set extensions.transform_imaging_to_icc_profile to NONE to read the pixels "
    "as they are stored.",
    Remedy.A_TOKEN: "Send a bearer_token that may read it.",
    Remedy.A_STORE: "Put it into a DICOM store and name it by dicom_path.",
    Remedy.APPROVE_STORE: "Its operator sets APPROVED_DICOM_STORE_SOURCE_LIST.",
    Remedy.APPROVE_BUCKET: "Its operator sets APPROVED_GCS_SOURCE_LIST.",
    Remedy.ALLOW_HTTP: "The service's operator can set PATHSERVE_ALLOW_HTTP_STORES.",
    Remedy.ALLOW_PRIVATE: "The service's operator sets PATHSERVE_REFUSE_PRIVATE_STORES.",
    ImageCode.EZ_WSI_STATE_ERROR: "Send the extensions.ez_wsi_state that ez-wsi-dicomweb makes, or none.",
}


def fault_of(fault: ImageFault) -> Fault:
    """Return the API's fault of an image's, with what the caller should do about it."""
    remedy = _REMEDIES.get(fault.remedy or fault.code)
    description = fault.description if remedy is None else f"{fault.description} {remedy}"
    return Fault(Code(fault.code), _printable(description))


def _printable(description: str) -> str:
    return _UNPRINTABLE.sub(" ", description)[:MAX_DESCRIPTION_LENGTH]


class ServiceError(Exception):
    """An error of the table, with what the caller should do about it.

    Parameters
    ----------
    code:
        A row of the table.
    description:
        One or two actionable sentences, shortened to 1024 printable characters.
        Never put a token, image bytes or patient data in it.
    retry_after_s:
        For SERVICE_UNAVAILABLE_ERROR: seconds after which to try again.
    """

    def __init__(self, code: Code, description: str, *, retry_after_s: int | None = None) -> None:
        self.code = code
        self.description = _printable(description)
        self.retry_after_s = retry_after_s
        super().__init__(f"{code}: {self.description}")

    @classmethod
    def of(cls, fault: Fault) -> ServiceError:
        """Return the exception of a fault."""
        return cls(Code(fault.code), fault.description)

    @property
    def fault(self) -> Fault:
        """What remains of it once it has been caught."""
        return Fault(self.code, self.description)


def unavailable(description: str, *, retry_after_s: int = 1) -> ServiceError:
    """Return the 503 of an overloaded, draining or recovering service."""
    return ServiceError(Code.SERVICE_UNAVAILABLE_ERROR, description, retry_after_s=retry_after_s)
