"""A series in a store as one caller reads it for one request: address, token and deadline in one."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import TypeVar

from urllib3.response import BaseHTTPResponse

from dicom_io.cache import SharedCache
from dicom_io.errors import ImageCode, ImageError
from dicom_io.waiting import Cancellation
from dicom_io.web.credentials import BearerToken, fingerprint
from dicom_io.web.http import HttpStore
from dicom_io.web.patience import Patience
from dicom_io.web.series_path import SeriesPath
from dicom_io.web.urls import StoreUrl

T = TypeVar("T")

UrlCache = SharedCache[Hashable, T]
"""What is kept of addresses, by ``SeriesAccess.key``."""


@dataclass(frozen=True, slots=True)
class SeriesAccess:
    """How the addresses of one series are read.

    Attributes
    ----------
    token:
        The caller's, for the series' own store alone.
    waits:
        Ends what the request waits for.
    io:
        Runs functions that wait for the store.
    """

    http: HttpStore
    path: SeriesPath
    token: BearerToken | None = field(repr=False)
    waits: Cancellation
    io: Executor

    def key(self, url: StoreUrl) -> Hashable:
        """Return an address' key in caches; callers with different tokens have different keys."""
        return url, fingerprint(self.token)

    def read(self, url: StoreUrl, accept: str, consume: Callable[[BaseHTTPResponse], T]) -> T:
        """Read an answer; see ``HttpStore.read``."""
        patience = Patience(self.waits.deadline, self.waits.stop)
        return self.http.read(url, accept, self.token, patience, consume)

    def kept(self, cache: UrlCache[T], url: StoreUrl, make: Callable[[], tuple[T, int]]) -> T:
        """Return the cached value of an address, made now by ``make`` (value, cost) unless it is there.

        Raises
        ------
        ImageError
            HTTP_ERROR when another request is still making it at the deadline; whatever ``make`` raises.
        """
        try:
            return cache.get(self.key(url), make, self.waits.deadline - time.monotonic())
        except TimeoutError as error:
            raise ImageError(ImageCode.HTTP_ERROR, "The store did not answer in time.") from error
