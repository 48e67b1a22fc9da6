"""A store's metadata of the SOP instances of a series, in the different ways in which stores give it.

Most answer for the whole series at once (PS3.18, 10.4.1.1.2). Some have no such resource, or answer it with a
summary of each instance: then the instances that a request names are asked for one by one, and those that
belong to them are looked for.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from http import HTTPStatus

from urllib3.response import BaseHTTPResponse

from dicom_io.cache import SharedCache
from dicom_io.errors import ImageCode, ImageError
from dicom_io.io_threads import run_together
from dicom_io.slides.instance import IccReference, SopInstance, parse_instance
from dicom_io.web.dicom_json import MAX_INSTANCES, MAX_METADATA_BYTES, parse_datasets
from dicom_io.web.http import StoreStatusError, read_limited
from dicom_io.web.multipart import media_type
from dicom_io.web.series_access import SeriesAccess, UrlCache
from dicom_io.web.series_path import SeriesPath, is_uid
from dicom_io.web.urls import StoreUrl

_JSON = "application/dicom+json"
_LIFE_S = 60.0
_CACHE_BYTES = 64 << 20
_BYTES_PER_ENTRY = 1024
_PAGE = 200
_NO_SUCH_RESOURCE = frozenset({400, 404, 405, 406, 501})
_CONCATENATION_UID = "00209161"

Instances = tuple[SopInstance, ...]


def metadata_cache() -> UrlCache[Instances]:
    """Return a cache for the metadata of all series that a process reads."""
    return SharedCache(_CACHE_BYTES, _LIFE_S)


class SeriesMetadata:
    """Reads the metadata of one series.

    Parameters
    ----------
    kept:
        What has been read lately, by any request; see ``metadata_cache``.
    """

    def __init__(self, access: SeriesAccess, kept: UrlCache[Instances]) -> None:
        self._access = access
        self._kept = kept

    def all(self) -> Instances:
        """Return all SOP instances of the series.

        Raises
        ------
        ImageError
            DICOM_PATH_ERROR when the store does not have the series.
        """
        known = self._at_once()
        if known is None:
            return self._one_by_one([uid for item in self._search() if (uid := item.sop_uid)])
        return known

    def named(self, uids: Sequence[str]) -> Instances:
        """Return the SOP instances of the series as far as reading some of them takes.

        Parameters
        ----------
        uids:
            The instances that are read; of a concatenation any part.

        Raises
        ------
        ImageError
            DICOM_PATH_ERROR when the store does not have the series.
        """
        known = self._at_once()
        if known is not None and not any(i.sop_uid in uids and i.is_meagre for i in known):
            return known
        found = self._one_by_one(uids)
        if not found and known is None:
            self._search()  # tells whether there is such a series at all
        found += self._one_by_one(self._other_parts(found, known, uids))
        whole = {i.sop_uid for i in found}
        return found + tuple(i for i in known or () if i.sop_uid not in whole)

    def _other_parts(self, found: Instances, known: Instances | None, but: Sequence[str]) -> list[str]:
        """Return the instances that may belong to the concatenations of those that were found."""
        concatenations = {i.concatenation_uid for i in found if i.concatenation_uid}
        if not concatenations or len(found) >= max(i.concatenation_parts or sys.maxsize for i in found):
            return []
        listed = known if known is not None else self._search()
        declared = [i for i in listed if i.concatenation_uid in concatenations]
        # A summary that never says which concatenation an instance is of leaves only to ask each.
        perhaps = declared or [i for i in listed if i.concatenation_uid is None]
        return [uid for i in perhaps if (uid := i.sop_uid) and uid not in but]

    def _at_once(self) -> Instances | None:
        """Return the metadata of the whole series, ``None`` where the store has no such resource."""
        try:
            found = self._get(self._access.path.url.child("metadata"))
        except StoreStatusError as error:
            if error.status not in _NO_SUCH_RESOURCE:
                raise
            return None
        if not found:
            raise _no_such_series(self._access.path)
        return found

    def _one_by_one(self, uids: Sequence[str]) -> Instances:
        """Return the metadata of single instances, without those that the store does not have."""

        def ask(uid: str) -> Instances:
            try:
                return self._get(self._access.path.instance(uid).child("metadata"))
            except StoreStatusError as error:
                if error.status not in _NO_SUCH_RESOURCE:
                    raise
                return ()

        asked = filter(is_uid, dict.fromkeys(uids))
        return tuple(i for found in run_together(self._access.io, ask, asked) for i in found)

    def _search(self) -> Instances:
        """Return the instances that a search lists, page by page (PS3.18, 8.3.4.4).

        A page may be shorter than asked for, and a store may not know of pages: the end is where nothing new
        comes.
        """
        found: dict[str, SopInstance] = {}
        offset = 0
        while len(found) <= MAX_INSTANCES:
            query = f"limit={_PAGE}&offset={offset}&includefield={_CONCATENATION_UID}"
            try:
                page = self._get(self._access.path.url.child("instances", query=query))
            except StoreStatusError as error:
                if error.status != HTTPStatus.NOT_FOUND:
                    raise
                page = ()
            new = {uid: item for item in page if (uid := item.sop_uid) and uid not in found}
            if not new:
                break
            found |= new
            offset += len(page)
        if not found:
            raise _no_such_series(self._access.path)
        return tuple(found.values())

    def _get(self, url: StoreUrl) -> Instances:
        def make() -> tuple[Instances, int]:
            found = tuple(_sharing_profiles(self._access.read(url, _JSON, _parsed)))
            # A profile that several instances share is there once.
            profiles = {id(i.icc): i.icc.kept_bytes for i in found if i.icc is not None}
            own = sum(replace(i, icc=None).kept_bytes for i in found)
            cost = _BYTES_PER_ENTRY + own + sum(profiles.values())
            return found, cost if found else _CACHE_BYTES + 1  # what is not there yet is asked for anew

        return self._access.kept(self._kept, url, make)


def _parsed(response: BaseHTTPResponse) -> list[SopInstance]:
    if response.status == HTTPStatus.NO_CONTENT:
        return []
    kind, _ = media_type(response.headers.get("Content-Type", ""))
    if kind not in (_JSON, "application/json"):
        raise ImageError(ImageCode.HTTP_ERROR, f"The store sent metadata as {kind}, not as {_JSON}.")
    return [parse_instance(item) for item in parse_datasets(read_limited(response, MAX_METADATA_BYTES))]


def _sharing_profiles(instances: Iterable[SopInstance]) -> Iterator[SopInstance]:
    """Yield instances of which those with the same inline profile hold the same bytes."""
    profiles: dict[IccReference, IccReference] = {}
    for instance in instances:
        reference = instance.icc
        yield (
            instance
            if reference is None
            else replace(instance, icc=profiles.setdefault(reference, reference))
        )


def _no_such_series(path: SeriesPath) -> ImageError:
    return ImageError(
        ImageCode.DICOM_PATH_ERROR,
        f"The store at {path.store.host} has no series {path.series_uid} in study {path.study_uid}.",
    )
