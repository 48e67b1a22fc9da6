"""``image_file_uri``: an object in Cloud Storage, or the pixels that Google's client sends in its place."""

from __future__ import annotations

from dicom_io.geometry import Patch
from dicom_io.sources.encoded import GcsSource
from dicom_io.sources.sent_pixels import PLACEHOLDER, ClientImageSource
from dicom_io.sources.session import Source
from dicom_io.web.gcs import GcsUri, parse_gcs_uri
from serving.api.ez_wsi import parse_image_state
from serving.api.fields import JsonObject, bad, kind
from serving.api.json_schema import Schema, a_string
from serving.api.sources.kind import SourceKind, parse_token, write_token
from serving.errors import Code, ServiceError

_FIELD = "image_file_uri"


def _parse(instance: JsonObject, patches: tuple[Patch, ...], state: object) -> Source:
    token, text = parse_token(instance), instance[_FIELD]
    if not isinstance(text, str):
        raise bad(f"{_FIELD} must be a string, not {kind(text)}.")
    pixels = parse_image_state(state, patches)
    if pixels is not None:
        return ClientImageSource(pixels, None if text == PLACEHOLDER else _parse_uri(text))
    return GcsSource(_parse_uri(text), token)


def _parse_uri(text: str) -> GcsUri:
    try:
        return parse_gcs_uri(text)
    except ValueError as error:
        raise ServiceError(Code.GCS_IMAGE_PATH_FORMAT_ERROR, f"{_FIELD} {error}.") from error


def _write(source: Source) -> JsonObject | None:
    return {_FIELD: str(source.uri), **write_token(source.token)} if isinstance(source, GcsSource) else None


def _schema() -> Schema:
    return a_string("An image in Cloud Storage, gs://BUCKET/OBJECT: an encoded image or a DICOM file.")


GCS = SourceKind(_FIELD, _parse, _write, _schema)
