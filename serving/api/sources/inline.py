"""``raw_image_bytes``: an encoded image in the request itself."""

from __future__ import annotations

import pybase64

from dicom_io.errors import ImageCode, ImageError
from dicom_io.geometry import Patch
from dicom_io.sources.encoded import EncodedSource
from dicom_io.sources.session import Source
from serving.api.fields import JsonObject, bad, kind
from serving.api.json_schema import Schema, a_string
from serving.api.sources.kind import SourceKind

_FIELD = "raw_image_bytes"


class _Base64:
    """An image as base64 text, which is decoded once, and then let go of.

    An image that failed must not stay until its request ends.
    """

    def __init__(self, text: str) -> None:
        self._text = text

    def __call__(self) -> bytes:
        text, self._text = self._text, ""
        try:
            return pybase64.b64decode(text, validate=True)
        except ValueError as error:
            raise ImageError(
                ImageCode.INVALID_REQUEST_FIELD_ERROR,
                f"{_FIELD} is not valid base64 (standard alphabet A-Z a-z 0-9 + /, padded with =, no line "
                "breaks).",
            ) from error


def _parse(instance: JsonObject, _patches: tuple[Patch, ...], _state: object) -> Source:
    if instance.get("bearer_token") not in (None, ""):
        raise bad(f"bearer_token has no use with {_FIELD}; leave it out.")
    text = instance[_FIELD]
    if not isinstance(text, str):
        raise bad(f"{_FIELD} must be a base64 string, not {kind(text)}.")
    return EncodedSource(_Base64(text))


def _write(source: Source) -> JsonObject | None:
    if not isinstance(source, EncodedSource):
        return None
    return {_FIELD: pybase64.b64encode_as_string(source.data())}


def _schema() -> Schema:
    return a_string("An encoded image as base64 (RFC 4648, section 4).")


INLINE = SourceKind(_FIELD, _parse, _write, _schema)
