"""Where a series is: ``series_path`` and UIDs, checked before they reach a URL."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dicom_io.web.urls import StoreUrl, UrlError, parse_url

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


def is_uid(text: str) -> bool:
    """Return whether a text is a UID (PS3.5, section 9.1; leading zeros are accepted)."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class SeriesPath:
    """Where a series is: the store's DICOMweb address and the two UIDs."""

    store: StoreUrl
    study_uid: str
    series_uid: str

    @property
    def url(self) -> StoreUrl:
        """Address of the series."""
        return self.store.child("studies", self.study_uid, "series", self.series_uid)

    def instance(self, sop_uid: str) -> StoreUrl:
        """Address of one of its SOP instances."""
        return self.url.child("instances", sop_uid)


def parse_series_path(text: str) -> SeriesPath:
    """Parse ``https://host/any/prefix/studies/STUDY/series/SERIES``.

    Raises
    ------
    ValueError
        With what an address must be.
    """
    shape = "must be https://HOST/PREFIX/studies/STUDY_UID/series/SERIES_UID"
    try:
        url = parse_url(text)
    except UrlError as error:
        raise ValueError(f"{shape}; {error}") from error
    match url.segments:
        case [*prefix, "studies", study, "series", series] if is_uid(study) and is_uid(series):
            return SeriesPath(StoreUrl(url.scheme, url.host, url.port, tuple(prefix)), study, series)
    raise ValueError(f"{shape}, with UIDs of digits and dots")
