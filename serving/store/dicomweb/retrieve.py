"""Instances, their metadata and their bulk data (PS3.18, 10.4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from flask import Response, request

from dicom_io.errors import ImageError
from serving.errors import Code, ServiceError
from serving.store.dicomweb.accept import MediaRange, accepted, not_acceptable, require
from serving.store.dicomweb.library import Addresses, Library, begun
from serving.store.dicomweb.multipart import Part, related, sized
from serving.store.index.frames import UnreadableInstance
from serving.store.index.metadata import MARK
from serving.store.index.query import Stored
from serving.store.index.store_index import StoreIndex
from serving.store.reader import GoneMeanwhile

JSON = "application/dicom+json"
_DICOM = "application/dicom"
_OCTETS = "application/octet-stream"


def instances(
    library: Library, study: str, series: str | None = None, instance: str | None = None
) -> Response:
    """Answer the files of a study, a series or an instance, as they are stored.

    Raises
    ------
    ServiceError
        NOT_FOUND_ERROR, NOT_ACCEPTABLE_ERROR
    """
    found = library.instances(study, series, instance)
    ranges = [one for one in accepted(request.headers.get("Accept")) if one.covers(_DICOM)]
    wanted = next((one for one in ranges if _admits(one, found)), None)
    if wanted is None:
        syntaxes = ", ".join(sorted({one.transfer_syntax for one in found}))
        raise not_acceptable(
            f"Instances are sent as they are stored, here in {syntaxes}: accept multipart/related; "
            f'type="{_DICOM}"; transfer-syntax=*'
        )
    if wanted.is_multipart is False:
        (one,) = found
        response = Response(begun(library.reader.instance(one)), content_type=_kind_of(one))
        response.content_length = one.size
        return response
    addresses, reader = library.addresses(), library.reader
    size = sized(_part(addresses, one, ()) for one in found)
    return related(_DICOM, (_part(addresses, one, reader.instance(one)) for one in found), size)


def _admits(one: MediaRange, found: Sequence[Stored]) -> bool:
    if one.is_multipart is False and len(found) > 1:
        return False
    # None named would be explicit little endian; who names none takes what there is in all known clients.
    return one.syntax in ("", "*") or all(stored.transfer_syntax == one.syntax for stored in found)


def _kind_of(stored: Stored) -> str:
    return f"{_DICOM}; transfer-syntax={stored.transfer_syntax}"


def _part(addresses: Addresses, stored: Stored, body: Iterable[bytes]) -> Part:
    return Part(_kind_of(stored), addresses.of_instance(stored), stored.size, body)


def metadata(
    library: Library, study: str, series: str | None = None, instance: str | None = None
) -> Response:
    """Answer the DICOM JSON of the instances of a study, a series or of one.

    Raises
    ------
    ServiceError
        NOT_FOUND_ERROR, NOT_ACCEPTABLE_ERROR
    """
    require(accepted(request.headers.get("Accept")), JSON, "application/json")
    found = library.instances(study, series, instance)
    return Response(listed(_documents(library.index, library.addresses(), found)), content_type=JSON)


def _documents(index: StoreIndex, addresses: Addresses, found: Sequence[Stored]) -> Iterator[bytes]:
    """Yield the DICOM JSON of instances, with the addresses of their bulk data."""
    by_uid = {one.sop: addresses.of_instance(one) for one in found}
    for sop, document in index.metadata(list(by_uid)):
        yield addressed(document, by_uid[sop])


def addressed(document: bytes, address: str) -> bytes:
    """Return the DICOM JSON of an instance with the instance's address in that of each bulk value."""
    return document.replace(b'"' + MARK.encode(), b'"' + address.encode() + b"/")


def listed(items: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a JSON list of documents, in pieces."""
    yield b"["
    before = b""
    for item in items:
        yield before + item
        before = b","
    yield b"]"


def bulk_data(library: Library, study: str, series: str, instance: str, number: int) -> Response:
    """Answer a value that the metadata refers to.

    Raises
    ------
    ServiceError
        NOT_FOUND_ERROR, NOT_ACCEPTABLE_ERROR
    """
    stored = library.instance(study, series, instance)
    ranges = [one for one in accepted(request.headers.get("Accept")) if one.covers(_OCTETS)]
    if not ranges:
        raise not_acceptable(f"Bulk data is sent as {_OCTETS}.")
    try:
        value = library.reader.bulk_value(stored, number)
    except GoneMeanwhile:
        value = None
    except (UnreadableInstance, ImageError, OSError) as error:
        raise ServiceError(Code.INTERNAL_ERROR, "The instance's file cannot be read.") from error
    if value is None:
        raise ServiceError(Code.NOT_FOUND_ERROR, "The instance has no such bulk data.")
    address = f"{library.addresses().of_instance(stored)}/bulkdata/{number}"
    if ranges[0].is_multipart is True:
        part = Part(_OCTETS, address, len(value), (value,))
        return related(_OCTETS, [part], sized([part]))
    return Response(value, content_type=_OCTETS)
