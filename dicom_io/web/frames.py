"""Frames of an SOP instance from a DICOMweb store (PS3.18, 10.4): many in one request if it can."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from http import HTTPStatus

from urllib3.response import BaseHTTPResponse

from dicom_io.codecs.frame import DECODERS
from dicom_io.codecs.frame_format import FrameFormat
from dicom_io.errors import ImageCode, ImageError
from dicom_io.slides.frame_cache import EncodedFrame
from dicom_io.slides.instance import SopInstance
from dicom_io.slides.series import most_encoded_bytes
from dicom_io.waiting import Stop
from dicom_io.web.frame_syntax import FRAME_TYPES, Wanted, colours_are_unknown, syntax_of, ways_to_ask
from dicom_io.web.http import LostConnection, StoreStatusError, iter_body, read_limited
from dicom_io.web.multipart import MultipartError, Part, iter_parts, media_type
from dicom_io.web.patience import Patience
from dicom_io.web.series_access import SeriesAccess

_NOT_ACCEPTABLE = frozenset({406, 415})
_CANNOT_SERVE = _NOT_ACCEPTABLE | {400, 500, 501}
_PERHAPS_ONE_BY_ONE = frozenset({400, 404, 413, 414, 500, 501})
_FRAME = re.compile(r"/frames/([0-9]{1,10})/?$")


def fetch_frames(
    access: SeriesAccess, instance: SopInstance, numbers: Sequence[int], form: FrameFormat, stop: Stop
) -> Iterator[tuple[int, EncodedFrame]]:
    """Yield frames with their numbers, as they arrive; as stored where that can be decoded.

    See ``Series.frames``.
    """
    asked = _Asked(access, instance, form, stop)
    left = dict.fromkeys(numbers)
    unusable = ""
    refusal: StoreStatusError | None = None
    for wanted in ways_to_ask(instance):
        try:
            for number, frame in asked.frames(list(left), wanted):
                if (why := _why_unusable(frame.syntax, instance, form)) is not None:
                    unusable = why
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


def _why_unusable(syntax: str, instance: SopInstance, form: FrameFormat) -> str | None:
    if syntax not in DECODERS:
        return f"Transfer syntax {syntax} is not supported"
    if colours_are_unknown(syntax, instance, form):
        return "The store decompresses these JPEG frames and does not say to which colours"
    return None


class _Asked:
    """Frames of one SOP instance, asked for in one request where the store lets us."""

    def __init__(self, access: SeriesAccess, instance: SopInstance, form: FrameFormat, stop: Stop) -> None:
        self._access = access
        self._instance, self._form = instance, form
        self._uid = str(instance.sop_uid)
        self._url = access.path.instance(self._uid)
        self._patience = Patience(access.waits.deadline, stop)
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
        with self._access.http.get(url, wanted.accept, self._access.token, self._patience) as response:
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
        limit = most_encoded_bytes(self._form)
        if kind == "multipart/related":
            where = f"SOP instance {self._uid}, frame {numbers[0]}"
            yield from answer_parts(iter_body(response), parameters, limit, where)
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


def answer_parts(
    chunks: Iterator[bytes], parameters: dict[str, str], limit: int, what: str
) -> Iterator[Part]:
    """Yield the parts of a store's multipart answer.

    Parameters
    ----------
    limit:
        Most bytes of a part.
    what:
        Names the first part in an error's sentence.

    Raises
    ------
    ImageError
        HTTP_ERROR when it names no boundary, DICOM_ERROR when it is cut off or malformed.
    """
    boundary = parameters.get("boundary", "")
    if not boundary:
        raise ImageError(ImageCode.HTTP_ERROR, "The store's multipart answer names no boundary.")
    try:
        yield from iter_parts(chunks, boundary, limit)
    except MultipartError as error:
        raise ImageError(
            ImageCode.DICOM_ERROR, f"The store's answer is cut off or malformed; {what} or one after it."
        ) from error
