"""Frames as they are stored (PS3.18, 10.4.1.1.6): many in a multipart answer, or one by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from flask import Response, request

from dicom_io.codecs.frame_format import NATIVE
from dicom_io.web.frame_syntax import media_types_of
from serving.errors import Code, ServiceError
from serving.store.dicomweb.accept import RELATED, MediaRange, accepted, not_acceptable
from serving.store.dicomweb.library import Library, begun
from serving.store.dicomweb.multipart import Part, related, sized
from serving.store.index.frames import FrameTable, Layout
from serving.store.index.query import Stored

_OCTETS = "application/octet-stream"


def frames(library: Library, study: str, series: str, instance: str, numbers: str) -> Response:
    """Answer frames, in the order in which they are asked for.

    Raises
    ------
    ServiceError
        NOT_FOUND_ERROR for what there is not, NOT_ACCEPTABLE_ERROR for what would have to be transcoded.
    """
    stored = library.instance(study, series, instance)
    table = frame_table(library, stored)
    wanted = frame_numbers(numbers, table.count)
    kind, is_multipart = _negotiated(accepted(request.headers.get("Accept")), stored, len(wanted))
    typed = f"{kind}; transfer-syntax={stored.transfer_syntax}"
    address = f"{library.addresses().of_instance(stored)}/frames"
    described = _described(table, typed, address, wanted)
    bodies = begun(library.reader.frames_in_pieces(stored, table, wanted))
    if not is_multipart:
        response = Response(chain.from_iterable(bodies), content_type=typed)
        if (length := described[0][2]) is not None:
            response.content_length = length
        return response
    size = sized(Part(*about, ()) for about in described)
    parts = (Part(*about, body) for about, body in zip(described, bodies, strict=True))
    return related(kind, parts, size)


def frame_table(library: Library, stored: Stored) -> FrameTable:
    """Return where the frames of an instance are.

    Raises
    ------
    ServiceError
        NOT_FOUND_ERROR when it has been deleted meanwhile.
    """
    try:
        return library.index.frames(stored)
    except KeyError as error:
        raise ServiceError(Code.NOT_FOUND_ERROR, "The instance has just been deleted.") from error


def frame_numbers(text: str, count: int) -> list[int]:
    """Return the numbers of a list such as ``1,2,5``.

    Raises
    ------
    ServiceError
        INVALID_REQUEST_FIELD_ERROR when it is not one, NOT_FOUND_ERROR when the instance has fewer frames.
    """
    texts = text.split(",")
    if not all(one.isascii() and one.isdecimal() and len(one) <= 10 for one in texts):
        raise ServiceError(
            Code.INVALID_REQUEST_FIELD_ERROR, "Frames must be numbers from 1, separated by commas."
        )
    numbers = [int(one) for one in texts]
    if not all(1 <= number <= count for number in numbers):
        raise ServiceError(Code.NOT_FOUND_ERROR, f"The instance has frames 1 to {count} only.")
    return numbers


def _described(
    table: FrameTable, kind: str, address: str, numbers: Sequence[int]
) -> list[tuple[str, str, int | None]]:
    """Return content type, location and size of each part."""
    is_known = table.layout is not Layout.FRAGMENTED
    return [(kind, f"{address}/{number}", table.where(number)[1] if is_known else None) for number in numbers]


def _negotiated(ranges: Sequence[MediaRange], stored: Stored, count: int) -> tuple[str, bool]:
    """Return the media type of frames, and whether they go as a multipart."""
    for one in ranges:
        for kind in _kinds(one, stored.transfer_syntax):
            if one.is_multipart is not False:
                return kind, True
            if count == 1:
                return kind, False
    raise not_acceptable(
        f"These frames are sent as they are stored, in transfer syntax {stored.transfer_syntax}: accept "
        f'{RELATED}; type="{_OCTETS}"; transfer-syntax=*'
        + (f" (or one frame at a time, {_OCTETS}; transfer-syntax=*)." if count > 1 else ".")
    )


def _kinds(one: MediaRange, syntax: str) -> Iterator[str]:
    """Yield the media types by which a range admits frames of a transfer syntax, as they are stored."""
    alike = NATIVE if syntax in NATIVE else {syntax}
    if one.syntax not in ("", "*", *alike):
        return
    for kind in media_types_of(syntax):
        if one.covers(kind):
            yield kind
    # Octets of no named transfer syntax are uncompressed ones (PS3.18, 8.7.3.3.2).
    if one.covers(_OCTETS) and (one.syntax or syntax in NATIVE or one.kind != _OCTETS):
        yield _OCTETS
