"""A DICOMweb store: metadata, frames and bulk data of a series (PS3.18, sections 10.4 and 10.6)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar
from urllib.parse import urljoin

import orjson
from urllib3.exceptions import ProtocolError

from dicom_io.caches import EncodedFrame, SharedCache
from dicom_io.credentials import BearerToken, fingerprint
from dicom_io.frames import (
    DECODERS,
    EXPLICIT_LE,
    JPEG_BASELINE,
    NATIVE,
    RLE,
    FrameFormat,
    is_native_size,
    recognised_syntax,
)
from dicom_io.http_store import HttpStore, StoreStatusError, iter_body, read_limited
from dicom_io.json_size import unfolds_beyond
from dicom_io.multipart import MultipartError, Part, iter_parts, media_type
from dicom_io.series_path import SeriesPath, is_uid
from dicom_io.sop_instance import SopInstance, parse_instance
from dicom_io.urls import StoreUrl, UrlError, parse_url
from serving.errors import Code, ServiceError

MAX_METADATA_BYTES = 64 << 20
MAX_ICC_BYTES = 16 << 20
_METADATA_LIFE_S = 60.0
_METADATA_CACHE_BYTES = 64 << 20
_BYTES_PER_RECORD = 4096
_MAX_INSTANCES = 10_000
_MAX_CONTAINERS = 1_500_000
_FALL_BACK_INSTANCES = 200

T = TypeVar("T")

_JSON = "application/dicom+json"
_OCTETS = 'multipart/related; type="application/octet-stream"'
_ACCEPTS = (
    f"{_OCTETS}; transfer-syntax=*",  # as stored
    _OCTETS,  # explicit little endian by PS3.18, 8.7.3.3; Orthanc then sends what it does not know as it is
    f"{_OCTETS}; transfer-syntax={EXPLICIT_LE}",
    f'multipart/related; type="image/jpeg"; transfer-syntax={JPEG_BASELINE}',
)
"""How frames are asked for, one after the other until the store has an answer that can be decoded."""

_NOT_ACCEPTABLE = frozenset({406, 415})
_CANNOT_SERVE = _NOT_ACCEPTABLE | {400, 500, 501}
_BULK = 'multipart/related; type="application/octet-stream", application/octet-stream'
_SYNTAX_OF_TYPE = {
    "image/jpeg": JPEG_BASELINE,
    "image/jls": "1.2.840.10008.1.2.4.81",
    "image/jp2": "1.2.840.10008.1.2.4.91",
    "image/jpx": "1.2.840.10008.1.2.4.91",
    "image/jphc": "1.2.840.10008.1.2.4.203",
    "image/jxl": "1.2.840.10008.1.2.4.112",
    "image/dicom-rle": RLE,
}
"""What PS3.18, table 8.7.3-2 calls each kind of frame."""


class DicomWebStore:
    """Reads series from stores, for all requests of a process."""

    def __init__(self, http: HttpStore) -> None:
        self._http = http
        self._metadata: SharedCache[tuple[object, ...], tuple[SopInstance, ...]] = SharedCache(
            _METADATA_CACHE_BYTES, _METADATA_LIFE_S
        )
        self._profiles: SharedCache[tuple[object, ...], bytes] = SharedCache(4 * MAX_ICC_BYTES, 3600.0)

    def check(self, path: SeriesPath) -> None:
        """Raise unless the series' store may be reached."""
        self._http.check(path.url)

    def instances(
        self, path: SeriesPath, token: BearerToken | None, deadline: float
    ) -> tuple[SopInstance, ...]:
        """Return what the store says about all SOP instances of a series.

        Raises
        ------
        ServiceError
            DICOM_PATH_ERROR when the store does not have the series.
        """

        def make() -> tuple[tuple[SopInstance, ...], int]:
            found = tuple(parse_instance(item) for item in self._retrieve_metadata(path, token, deadline))
            return found, _BYTES_PER_RECORD * len(found)

        key = (path.url, fingerprint(token))
        return _waiting(lambda: self._metadata.get(key, make, deadline - time.monotonic()))

    def icc_profile(self, path: SeriesPath, uri: str, token: BearerToken | None, deadline: float) -> bytes:
        """Return the bulk data at a URI that the series' metadata gave; it is held to the allow-list."""
        try:
            url = parse_url(urljoin(str(path.url) + "/", uri))
        except UrlError as error:
            raise ServiceError(
                Code.DICOM_ERROR, "The BulkDataURI of the ICC profile is no plain address."
            ) from error
        sent = token if url.origin == path.store.origin else None

        def make() -> tuple[bytes, int]:
            with self._http.get(url, "", _BULK, sent, deadline) as response:
                kind, parameters = media_type(response.headers.get("Content-Type", ""))
                if kind != "multipart/related":
                    body = read_limited(response, MAX_ICC_BYTES, deadline)
                else:
                    chunks = iter_body(response, deadline)
                    body = next(_parts(chunks, parameters, MAX_ICC_BYTES, "the ICC profile")).body
                return body, len(body)

        key = (url, fingerprint(sent))
        return _waiting(lambda: self._profiles.get(key, make, deadline - time.monotonic()))

    def frames(
        self,
        path: SeriesPath,
        instance: SopInstance,
        numbers: Sequence[int],
        form: FrameFormat,
        token: BearerToken | None,
        deadline: float,
    ) -> Iterator[EncodedFrame]:
        """Yield frames in the order asked for, as they arrive; as stored where that can be decoded.

        Parameters
        ----------
        numbers:
            Frames of the instance, from 1.

        Raises
        ------
        ServiceError
            DICOM_ERROR when frames are missing or cannot be had in a syntax that can be decoded.
        """
        done = 0
        unknown = ""
        refusal: StoreStatusError | None = None
        for accept in _ACCEPTS:
            try:
                for frame in self._frames(path, instance, numbers[done:], form, token, deadline, accept):
                    if frame.syntax not in DECODERS:
                        unknown = frame.syntax
                        break
                    done += 1
                    yield frame
                else:
                    return
            except StoreStatusError as error:
                if error.status not in _CANNOT_SERVE:
                    raise
                refusal = refusal or error
        if refusal is not None and refusal.status not in _NOT_ACCEPTABLE and not unknown:
            raise refusal
        raise ServiceError(
            Code.DICOM_ERROR,
            f"Transfer syntax {unknown or instance.transfer_syntax} is not supported, and the store does not "
            f"transcode it; SOP instance {instance.sop_uid}, frame {numbers[done]}.",
        )

    def _frames(
        self,
        path: SeriesPath,
        instance: SopInstance,
        numbers: Sequence[int],
        form: FrameFormat,
        token: BearerToken | None,
        deadline: float,
        accept: str,
    ) -> Iterator[EncodedFrame]:
        uid = str(instance.sop_uid)
        url = path.instance(uid).child("frames", ",".join(map(str, numbers)))
        with self._http.get(url, "", accept, token, deadline) as response:
            kind, parameters = media_type(response.headers.get("Content-Type", ""))
            if kind != "multipart/related":
                raise ServiceError(
                    Code.HTTP_ERROR, f"The store sent frames as {kind}, not as multipart/related."
                )
            where = f"SOP instance {uid}, frame {numbers[0]}"
            # A compressed frame may be larger than a native one, within reason.
            parts = _parts(iter_body(response, deadline), parameters, 2 * form.native_bytes + 65_536, where)
            received = 0
            for part in parts:
                if received == len(numbers):
                    break
                received += 1
                yield EncodedFrame(part.body, _syntax(part, instance, form))
        if received < len(numbers):
            raise ServiceError(
                Code.DICOM_ERROR,
                f"The store sent {received} of {len(numbers)} frames; SOP instance {uid}, "
                f"frame {numbers[received]} is missing.",
            )

    def _retrieve_metadata(
        self, path: SeriesPath, token: BearerToken | None, deadline: float
    ) -> list[dict[str, object]]:
        try:
            found = self._get_json(path.url.child("metadata"), "", token, deadline)
        except StoreStatusError as error:
            if error.status not in (400, 404, 405, 406, 501):
                raise
            found = self._search(path, token, deadline)
        if not found:
            raise _no_such_series(path)
        return found

    def _search(
        self, path: SeriesPath, token: BearerToken | None, deadline: float
    ) -> list[dict[str, object]]:
        """Fall back to a search for the instances and the metadata of each (PS3.18, 10.6)."""
        query = f"limit={_FALL_BACK_INSTANCES}"
        try:
            listed = self._get_json(path.url.child("instances"), query, token, deadline)
        except StoreStatusError as error:
            if error.status == 404:
                raise _no_such_series(path) from error
            raise
        found = []
        for item in listed[:_FALL_BACK_INSTANCES]:
            uid = parse_instance(item).sop_uid
            if uid and is_uid(uid):
                found += self._get_json(path.instance(uid).child("metadata"), "", token, deadline)
        return found

    def _get_json(
        self, url: StoreUrl, query: str, token: BearerToken | None, deadline: float
    ) -> list[dict[str, object]]:
        with self._http.get(url, query, _JSON, token, deadline) as response:
            kind, _ = media_type(response.headers.get("Content-Type", ""))
            if kind not in (_JSON, "application/json"):
                raise ServiceError(Code.HTTP_ERROR, f"The store sent metadata as {kind}, not as {_JSON}.")
            body = read_limited(response, MAX_METADATA_BYTES, deadline)
        if unfolds_beyond(body, _MAX_CONTAINERS):
            raise ServiceError(Code.DICOM_ERROR, "The store's metadata hold too many data sets.")
        try:
            document = orjson.loads(body) if body else []
        except orjson.JSONDecodeError as error:
            raise ServiceError(Code.DICOM_ERROR, "The store's metadata are no valid JSON.") from error
        if not isinstance(document, list) or not all(isinstance(item, dict) for item in document):
            raise ServiceError(Code.DICOM_ERROR, "The store's metadata are no list of DICOM data sets.")
        if len(document) > _MAX_INSTANCES:
            raise ServiceError(Code.DICOM_ERROR, f"The series has more than {_MAX_INSTANCES} instances.")
        return document


def _waiting(get: Callable[[], T]) -> T:
    try:
        return get()
    except TimeoutError as error:
        raise ServiceError(Code.HTTP_ERROR, "The store did not answer in time.") from error


def _parts(chunks: Iterator[bytes], parameters: dict[str, str], limit: int, what: str) -> Iterator[Part]:
    boundary = parameters.get("boundary", "")
    if not boundary:
        raise ServiceError(Code.HTTP_ERROR, "The store's multipart answer names no boundary.")
    try:
        yield from iter_parts(chunks, boundary, limit)
    except (MultipartError, ProtocolError) as error:
        raise ServiceError(
            Code.DICOM_ERROR, f"The store's answer is cut off or malformed; {what} or one after it."
        ) from error


def _syntax(part: Part, instance: SopInstance, form: FrameFormat) -> str:
    """Return a frame's transfer syntax: as the part says, else as its type or its bytes show."""
    said = part.parameters.get("transfer-syntax", "")
    if said in NATIVE and not is_native_size(part.body, form):
        # Orthanc calls native what it could not transcode.
        return recognised_syntax(part.body, form) or said
    if is_uid(said):
        return said
    if part.media_type in _SYNTAX_OF_TYPE:
        return _SYNTAX_OF_TYPE[part.media_type]
    return recognised_syntax(part.body, form) or instance.transfer_syntax or "unknown"


def _no_such_series(path: SeriesPath) -> ServiceError:
    return ServiceError(
        Code.DICOM_PATH_ERROR,
        f"The store at {path.store.host} has no series {path.series_uid} in study {path.study_uid}.",
    )
