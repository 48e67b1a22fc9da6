"""A DICOMweb store: metadata, frames and bulk data of a series (PS3.18, sections 10.4 and 10.6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from urllib3.response import BaseHTTPResponse

from dicom_io.cache import SharedCache
from dicom_io.codecs.frame_format import FrameFormat
from dicom_io.errors import ImageCode, ImageError
from dicom_io.io_threads import IoThreads
from dicom_io.slides.frame_cache import EncodedFrame
from dicom_io.slides.instance import MAX_ICC_BYTES, SopInstance
from dicom_io.waiting import Cancellation, Stop
from dicom_io.web.credentials import BearerToken
from dicom_io.web.frames import answer_parts, fetch_frames
from dicom_io.web.http import HttpStore, iter_body, read_limited
from dicom_io.web.multipart import media_type
from dicom_io.web.series_access import SeriesAccess, UrlCache
from dicom_io.web.series_metadata import Instances, SeriesMetadata, metadata_cache
from dicom_io.web.series_path import SeriesPath
from dicom_io.web.urls import UrlError, resolve_reference

_PROFILE_LIFE_S = 3600.0
_BYTES_PER_ENTRY = 1024
_BULK = 'multipart/related; type="application/octet-stream", application/octet-stream'


class DicomWebStore:
    """Opens series in stores, for all requests of a process, and holds the caches that they share.

    Parameters
    ----------
    io:
        Threads that wait for stores.
    """

    def __init__(self, http: HttpStore, io: IoThreads) -> None:
        self._http = http
        self._io = io
        self._metadata = metadata_cache()
        self._profiles: UrlCache[bytes] = SharedCache(4 * MAX_ICC_BYTES, _PROFILE_LIFE_S)

    def series(self, path: SeriesPath, token: BearerToken | None, waits: Cancellation) -> DicomWebSeries:
        """Open a series; nothing is sent before something of it is asked for.

        Raises
        ------
        ImageError
            UNAPPROVED_DICOM_STORE_ERROR or DICOM_PATH_ERROR when its store may not be reached.
        """
        self._http.check(path.url)
        access = SeriesAccess(self._http, path, token, waits, self._io.at(path.store.origin))
        return DicomWebSeries(access, self._metadata, self._profiles)


class DicomWebSeries:
    """A series in a DICOMweb store; a ``Series``."""

    def __init__(
        self, access: SeriesAccess, metadata: UrlCache[Instances], profiles: UrlCache[bytes]
    ) -> None:
        self.key, self.io, self.waits = access.key(access.path.url), access.io, access.waits
        self._access = access
        self._metadata = SeriesMetadata(access, metadata)
        self._profiles = profiles

    def instances(self, uids: Sequence[str] | None = None) -> Instances:
        """Return the SOP instances; see ``SeriesMetadata``."""
        return self._metadata.all() if uids is None else self._metadata.named(uids)

    def frames(
        self, instance: SopInstance, numbers: Sequence[int], form: FrameFormat, stop: Stop
    ) -> Iterator[tuple[int, EncodedFrame]]:
        """Yield frames; see ``Series.frames``."""
        return fetch_frames(self._access, instance, numbers, form, stop)

    def icc_profile(self, uri: str) -> bytes:
        """Return the bulk data at a URI that the series' metadata gave; it is held to the allow-list."""
        store = self._access.path.store
        try:
            url = resolve_reference(self._access.path.url.child(""), uri)
            if url.query and url.origin != store.origin:
                raise UrlError("elsewhere than at the store it must have no query")
        except UrlError as error:
            raise ImageError(
                ImageCode.DICOM_ERROR, f"The BulkDataURI of the ICC profile is not a plain address: {error}."
            ) from error
        # The metadata may lead anywhere that is allowed; the token is for the store that it was sent for.
        access = self._access if url.origin == store.origin else replace(self._access, token=None)

        def make() -> tuple[bytes, int]:
            body = access.read(url, _BULK, _bulk_data)
            return body, len(body) + len(uri) + _BYTES_PER_ENTRY

        return access.kept(self._profiles, url, make)


def _bulk_data(response: BaseHTTPResponse) -> bytes:
    kind, parameters = media_type(response.headers.get("Content-Type", ""))
    if kind != "multipart/related":
        return read_limited(response, MAX_ICC_BYTES)
    parts = answer_parts(iter_body(response), parameters, MAX_ICC_BYTES, "the ICC profile")
    part = next(parts, None)
    if part is None:
        raise ImageError(ImageCode.DICOM_ERROR, "The store's answer does not hold the ICC profile.")
    next(parts, None)  # what is read to its end leaves a connection that can be used again
    return part.body
