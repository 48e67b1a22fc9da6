"""Allow-lists: which stores this service may talk to. Parsed parts are compared, never text."""

from __future__ import annotations

from collections.abc import Sequence

from dicom_io.web.urls import StoreUrl, UrlError, parse_url


class StoreAllowList:
    """DICOM stores that may be read.

    An entry admits addresses of the same scheme, host and port whose path begins with the entry's
    whole segments. Everything is compared exactly.

    Parameters
    ----------
    entries:
        Addresses; ``None`` admits every store.

    Raises
    ------
    ValueError
        For an entry that ``parse_url`` refuses.
    """

    def __init__(self, entries: Sequence[str] | None) -> None:
        self._entries: list[StoreUrl] | None = None
        if entries is not None:
            try:
                self._entries = [parse_url(entry) for entry in entries]
            except UrlError as error:
                raise ValueError(f"not an address of a store: {error}") from error

    def admits(self, url: StoreUrl) -> bool:
        """Return whether an address may be reached."""
        return self._entries is None or any(
            (entry.scheme, entry.host, entry.port) == (url.scheme, url.host, url.port)
            and url.segments[: len(entry.segments)] == entry.segments
            for entry in self._entries
        )
