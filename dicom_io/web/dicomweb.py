"""A DICOMweb store: metadata, frames and bulk data of a series (PS3.18, sections 10.4 and 10.6)."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from http import HTTPStatus

from urllib3.response import BaseHTTPResponse

from dicom_io.cache import EncodedFrame, SharedCache
from dicom_io.codecs.frame import DECODERS
from dicom_io.codecs.frame_format import FrameFormat
from dicom_io.errors import ImageCode, ImageError
from dicom_io.io_threads import IoThreads
from dicom_io.slides.instance import MAX_ICC_BYTES, SopInstance
from dicom_io.waiting import Cancellation
from dicom_io.web.bounded_connection import Stop
from dicom_io.web.credentials import BearerToken, fingerprint
from dicom_io.web.frame_syntax import FRAME_TYPES, Wanted, colours_are_unsaid, syntax_of, ways_to_ask
from dicom_io.web.http import HttpStore, LostConnection, StoreStatusError, iter_body, read_limited
from dicom_io.web.multipart import MultipartError, Part, iter_parts, media_type
from dicom_io.web.patience import Patience
from dicom_io.web.series_metadata import Instances, SeriesMetadata, waiting
from dicom_io.web.series_path import SeriesPath
from dicom_io.web.urls import UrlError, resolve_reference

FRAME_SLACK = 65_536
"""Bytes that a frame may come in beyond twice its uncompressed size: headers, and a profile of its own."""

_PROFILE_LIFE_S = 3600.0
_BYTES_PER_ENTRY = 1024
_NOT_ACCEPTABLE = frozenset({406, 415})
_CANNOT_SERVE = _NOT_ACCEPTABLE | {400, 500, 501}
_PERHAPS_ONE_BY_ONE = frozenset({400, 404, 413, 414, 500, 501})
_BULK = 'multipart/related; type="application/octet-stream", application/octet-stream'
_FRAME = re.compile(r"/frames/([0-9]{1,10})/?$")


class DicomWebStore:
    """Reads series from stores, for all requests of a process.

    Parameters
    ----------
    io:
        Threads that wait for stores.
    """

    def __init__(self, http: HttpStore, io: IoThreads) -> None:
        self._http = http
        self._metadata = SeriesMetadata(http, io)
        self._profiles: SharedCache[tuple[object, ...], bytes] = SharedCache(
            4 * MAX_ICC_BYTES, _PROFILE_LIFE_S
        )

    def check(self, path: SeriesPath) -> None:
        """Raise unless the series' store may be reached."""
        self._http.check(path.url)

    def instances(self, path: SeriesPath, token: BearerToken | None, waits: Cancellation) -> Instances:
        """Return what the store says about all SOP instances of a series; see ``SeriesMetadata.series``."""
        return self._metadata.series(path, token, waits)

    def instances_for(
        self, path: SeriesPath, uids: Sequence[str], token: BearerToken | None, waits: Cancellation
    ) -> Instances:
        """Return what the store says as far as reading some takes; see ``SeriesMetadata.named``."""
        return self._metadata.named(path, uids, token, waits)

    def icc_profile(
        self, path: SeriesPath, uri: str, token: BearerToken | None, waits: Cancellation
    ) -> bytes:
        """Return the bulk data at a URI that the series' metadata gave; it is held to the allow-list."""
        try:
            url = resolve_reference(path.url.child(""), uri)
            if url.query and url.origin != path.store.origin:
                raise UrlError("elsewhere than at the store it must have no query")
        except UrlError as error:
            raise ImageError(
                ImageCode.DICOM_ERROR, f"The BulkDataURI of the ICC profile is no plain address: {error}."
            ) from error
        sent = token if url.origin == path.store.origin else None

        def make() -> tuple[bytes, int]:
            body = self._http.read(url, _BULK, sent, Patience(waits.deadline, waits.stop), _bulk_data)
            return body, len(body) + len(uri) + _BYTES_PER_ENTRY

        key = (url, fingerprint(sent))
        return waiting(lambda: self._profiles.get(key, make, waits.deadline - time.monotonic()))

    def frames(
        self,
        path: SeriesPath,
        instance: SopInstance,
        numbers: Sequence[int],
        form: FrameFormat,
        token: BearerToken | None,
        deadline: float,
        stop: Stop | None = None,
    ) -> Iterator[tuple[int, EncodedFrame]]:
        """Yield frames with their numbers, as they arrive; as stored where that can be decoded.

        Parameters
        ----------
        numbers:
            Frames of the instance, from 1, each once.
        stop:
            Ends it early.

        Raises
        ------
        ImageError
            DICOM_ERROR when frames are missing or cannot be had in a syntax that can be decoded.
        """
        patience = Patience(deadline, stop or Stop())
        asked = _Asked(self._http, path, instance, form, token, patience)
        left = dict.fromkeys(numbers)
        unusable = ""
        refusal: StoreStatusError | None = None
        for wanted in ways_to_ask(instance):
            try:
                for number, frame in asked.frames(list(left), wanted):
                    if frame.syntax not in DECODERS:
                        unusable = f"Transfer syntax {frame.syntax} is not supported"
                        break
                    if colours_are_unsaid(frame.syntax, instance, form):
                        unusable = (
                            "The store decompresses these JPEG frames and does not say to which colours"
                        )
                        break
                    del left[number]
                    yield number, frame
                else:
                    return
            except StoreStatusError as error:
                if error.status not in _CANNOT_SERVE:
                    raise
                refusal = refusal or error
        if refusal is not None and refusal.status not in _NOT_ACCEPTABLE and not unusable:
            raise refusal
        unusable = unusable or f"The store serves transfer syntax {instance.transfer_syntax} in no known way"
        raise ImageError(
            ImageCode.DICOM_ERROR,
            f"{unusable}, and it does not transcode it; SOP instance {instance.sop_uid}, "
            f"frame {next(iter(left))}.",
        )


class _Asked:
    """Frames of one SOP instance, asked for in one request where the store lets us."""

    def __init__(
        self,
        http: HttpStore,
        path: SeriesPath,
        instance: SopInstance,
        form: FrameFormat,
        token: BearerToken | None,
        patience: Patience,
    ) -> None:
        self._http = http
        self._instance, self._form = instance, form
        self._uid = str(instance.sop_uid)
        self._url = path.instance(self._uid)
        self._token = token
        self._patience = patience
        self._answered = False

    def frames(self, numbers: list[int], wanted: Wanted) -> Iterator[tuple[int, EncodedFrame]]:
        """Yield frames; those that a lost connection kept back are asked for again.

        A store that has no answer to several at a time is asked for one at a time.
        """
        left = dict.fromkeys(numbers)
        together = True
        while left:
            try:
                for number, part in self._get(list(left) if together else [next(iter(left))], wanted):
                    self._patience.made_progress()
                    del left[number]
                    yield number, EncodedFrame(part.body, syntax_of(part, self._instance, self._form, wanted))
            except LostConnection as error:
                if not self._patience.again():
                    if not self._answered:
                        raise
                    raise ImageError(
                        ImageCode.DICOM_ERROR,
                        f"The store's answer is cut off; SOP instance {self._uid}, frame {next(iter(left))} "
                        "or one after it.",
                    ) from error
            except _OneByOne:
                together = False
            except StoreStatusError as error:
                if not together or len(left) == 1 or error.status not in _PERHAPS_ONE_BY_ONE:
                    raise
                together = False

    def _get(self, numbers: list[int], wanted: Wanted) -> Iterator[tuple[int, Part]]:
        """Send one request and yield the parts of its answer with the frames that they are."""
        url = self._url.child("frames", ",".join(map(str, numbers)))
        left = dict.fromkeys(numbers)
        self._answered = False
        with self._http.get(url, wanted.accept, self._token, self._patience) as response:
            self._answered = True
            for part in self._parts(response, numbers):
                if not left:
                    break
                number = self._number(part, left)
                del left[number]
                yield number, part
        if left:
            raise ImageError(
                ImageCode.DICOM_ERROR,
                f"The store sent {len(numbers) - len(left)} of {len(numbers)} frames; "
                f"SOP instance {self._uid}, frame {next(iter(left))} is missing.",
            )

    def _parts(self, response: BaseHTTPResponse, numbers: list[int]) -> Iterator[Part]:
        if response.status == HTTPStatus.NO_CONTENT:
            return
        kind, parameters = media_type(response.headers.get("Content-Type", ""))
        # A compressed frame may be larger than a native one, within reason.
        limit = 2 * self._form.native_bytes + FRAME_SLACK
        if kind == "multipart/related":
            where = f"SOP instance {self._uid}, frame {numbers[0]}"
            yield from _parts(iter_body(response), parameters, limit, where)
        elif kind not in FRAME_TYPES:
            raise ImageError(
                ImageCode.HTTP_ERROR, f"The store sent frames as {kind}, not as multipart/related."
            )
        elif len(numbers) > 1:
            raise _OneByOne
        else:
            yield Part(kind, parameters, read_limited(response, limit))

    def _number(self, part: Part, left: dict[int, None]) -> int:
        """Return which frame a part is: as its Content-Location says, else the next one (PS3.18, 8.7.5)."""
        named = _FRAME.search(part.location.partition("?")[0])
        number = int(named.group(1)) if named else next(iter(left))
        if number not in left:
            raise ImageError(
                ImageCode.DICOM_ERROR,
                f"The store sent frame {number}, which was not asked for or has come already; SOP instance "
                f"{self._uid}, frame {next(iter(left))}.",
            )
        return number


class _OneByOne(Exception):
    """The store answers a request for several frames with one."""


def _bulk_data(response: BaseHTTPResponse) -> bytes:
    kind, parameters = media_type(response.headers.get("Content-Type", ""))
    if kind != "multipart/related":
        return read_limited(response, MAX_ICC_BYTES)
    parts = _parts(iter_body(response), parameters, MAX_ICC_BYTES, "the ICC profile")
    part = next(parts, None)
    if part is None:
        raise ImageError(ImageCode.DICOM_ERROR, "The store's answer does not hold the ICC profile.")
    next(parts, None)  # what is read to its end leaves a connection that can be used again
    return part.body


def _parts(chunks: Iterator[bytes], parameters: dict[str, str], limit: int, what: str) -> Iterator[Part]:
    boundary = parameters.get("boundary", "")
    if not boundary:
        raise ImageError(ImageCode.HTTP_ERROR, "The store's multipart answer names no boundary.")
    try:
        yield from iter_parts(chunks, boundary, limit)
    except MultipartError as error:
        raise ImageError(
            ImageCode.DICOM_ERROR, f"The store's answer is cut off or malformed; {what} or one after it."
        ) from error
