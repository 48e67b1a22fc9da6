"""``google.api.HttpBody``: how google-cloud-aiplatform wraps what it sends to rawPredict over REST.

PredictionServiceClient.raw_predict posts ``{"httpBody": {"contentType", "data"}}`` with the data in
base64; Vertex AI hands the data on to the model, and so does this.
"""

from __future__ import annotations

import base64
import binascii

import orjson
import pybase64

from dicom_io.json_size import unfolds_beyond
from serving.api.fields import bad, is_object

_NAMES = ("httpBody", "http_body")
_MAX_CONTAINERS = 100
"""The wrapping itself has two; its contents are a string, which is not parsed here."""


def unwrapped(body: bytes | bytearray) -> bytes | bytearray | None:
    """Return the data that a body wraps; ``None`` when it wraps none.

    Raises
    ------
    ServiceError
        INVALID_REQUEST_FIELD_ERROR when the wrapped data are not base64.
    """
    if not any(f'"{name}"'.encode() in body for name in _NAMES) or unfolds_beyond(body, _MAX_CONTAINERS):
        return None
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not is_object(document) or "instances" in document:
        return None
    wrapped = next((document[name] for name in _NAMES if name in document), None)
    data = wrapped.get("data") if is_object(wrapped) else None
    if not isinstance(data, str):
        raise bad("`httpBody.data` must be the request's JSON in base64.")
    try:
        return pybase64.b64decode(
            data.replace("-", "+").replace("_", "/") + "=" * (-len(data) % 4), validate=True
        )
    except (binascii.Error, ValueError) as error:
        raise bad("`httpBody.data` is not base64.") from error


def wrap(answer: bytes, content_type: str) -> bytes:
    """Return an answer as the client's REST transport parses it."""
    return orjson.dumps({"contentType": content_type, "data": base64.b64encode(answer).decode("ascii")})
