"""Uploading a result: Slide Score takes anno2 files before they are named in an answer."""

from __future__ import annotations

import base64

from dicom_io.web.urls import UrlError, resolve_reference
from serving.webhooks.slidescore.api import SEGMENT, Api, unusable
from serving.webhooks.transport import Call

UPLOAD_PIECE = 8 << 20
"""Bytes that are sent at once."""

_TUS = {"Tus-Resumable": "1.0.0"}


def upload_anno2(api: Api, archive: bytes) -> str:
    """Upload an annotation and return its UUID.

    Raises
    ------
    ImageError
        When it was not taken as a whole.
    """
    made = api.ask("POST", "CreateOrphanAnno2", {})
    token, uuid = made.get("uploadtoken"), made.get("annouuid")
    if not isinstance(token, str) or not token or not isinstance(uuid, str) or not uuid:
        raise unusable("it made no place for the result")
    file = _tus(api, archive, token)
    call = api.call("POST", "FinishUpload", {"id": file, "token": token}, repeatable=False)
    if api.send(call).body.strip() not in (b'"OK"', b"OK"):
        raise unusable("it did not accept the upload")
    return uuid


def _tus(api: Api, data: bytes, upload_token: str) -> str:
    """Upload a file by the TUS protocol (https://tus.io, 1.0.0); return its name at the server."""
    about = {"uploadtoken": upload_token, "apitoken": api.token.reveal()}
    headers = {
        **_TUS,
        "Authorization": api.token.authorization(),
        "Upload-Length": str(len(data)),
        "Upload-Metadata": ",".join(
            f"{name} {base64.b64encode(value.encode()).decode('ascii')}" for name, value in about.items()
        ),
    }
    create = Call("POST", ("files", ""), headers=headers, body=b"", repeatable=False)
    location = api.send(create).headers.get("location", "")
    where = _own(api, location)
    for start in range(0, len(data), UPLOAD_PIECE):
        _patch(api, where, data, start)
    return where[-1]


def _patch(api: Api, where: tuple[str, ...], data: bytes, start: int) -> None:
    piece = data[start : start + UPLOAD_PIECE]
    headers = {
        **_TUS,
        "Authorization": api.token.authorization(),
        "Upload-Offset": str(start),
        "Content-Type": "application/offset+octet-stream",
    }
    call = Call("PATCH", where, headers=headers, body=piece, repeatable=False)
    offset = api.send(call).headers.get("upload-offset")
    if offset != str(start + len(piece)):
        raise unusable("it took only a part of the upload")


def _own(api: Api, location: str) -> tuple[str, ...]:
    """Return the path, below the server's address, of an upload that is at the server itself."""
    server = api.transport.server
    try:
        found = resolve_reference(server.child("files", ""), location)
    except UrlError as error:
        raise unusable("it gave no address to upload to") from error
    below = found.segments[len(server.segments) :]
    inside = found.origin == server.origin and found.segments[: len(server.segments)] == server.segments
    if not inside or not below or found.query or not all(SEGMENT.fullmatch(one) for one in below):
        raise unusable("it gave an address to upload to that is not its own")
    return below
