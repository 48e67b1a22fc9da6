"""The Slide Score servers that may be talked to: those of the settings, compared exactly."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from dicom_io.web.public_connection import is_metadata_service
from dicom_io.web.urls import StoreUrl, UrlError, parse_url
from serving.config.settings import Settings, SettingsError
from serving.webhooks.transport import Peer, Transport

REQUESTS_AT_A_TIME = 6
"""What Slide Score asks its clients to keep to; browsers do."""

_BUSY = frozenset({429, 502, 504})
"""Worth another try. Not 503, which is how the tile server says that a cookie has expired."""


def slide_score(server: StoreUrl) -> Peer:
    """Return a server as it is spoken of and to."""
    denied = "refused the analysis' token ({status}); start the analysis again."
    return Peer(server, "Slide Score", denied, _BUSY, REQUESTS_AT_A_TIME)


def allowed_servers(settings: Settings) -> frozenset[StoreUrl]:
    """Return the addresses of the settings.

    Raises
    ------
    SettingsError
        For one that is none, or that a token must not be sent to.
    """
    return frozenset(_usable(text, settings) for text in settings.slidescore.origins or ())


def _usable(text: str, settings: Settings) -> StoreUrl:
    try:
        url = parse_url(text)
    except UrlError as error:
        raise SettingsError(f"PATHSERVE_SLIDESCORE_ORIGINS: {text} is not an address: {error}") from error
    if url.scheme != "https" and not (url.is_loopback or settings.stores.allow_http):
        raise SettingsError(
            f"PATHSERVE_SLIDESCORE_ORIGINS: {text} must begin with https://; plain http is for this machine "
            "alone (or set PATHSERVE_ALLOW_HTTP_STORES)."
        )
    if is_metadata_service(url.host):
        raise SettingsError(f"PATHSERVE_SLIDESCORE_ORIGINS: {text} belongs to a cloud's metadata service.")
    return url


def server_of(host: object, allowed: frozenset[StoreUrl]) -> StoreUrl | None:
    """Return the address that a request names, if it is one of those allowed."""
    if not isinstance(host, str) or len(host) > 2000:
        return None
    try:
        url = parse_url(host)
    except UrlError:
        return None
    return url if url in allowed else None


@dataclass(frozen=True, slots=True)
class Server:
    """A server, as all jobs of a process reach it.

    Attributes
    ----------
    fetching:
        As many threads as it takes requests at a time.
    """

    transport: Transport
    fetching: ThreadPoolExecutor


class Servers:
    """All servers of the settings; nothing is connected to before a job asks."""

    def __init__(self, settings: Settings) -> None:
        self._servers: Mapping[str, Server] = {
            str(url): Server(
                Transport(slide_score(url), settings.stores.timeout_s),
                ThreadPoolExecutor(REQUESTS_AT_A_TIME, thread_name_prefix="slidescore"),
            )
            for url in allowed_servers(settings)
        }

    def get(self, address: str) -> Server | None:
        """Return a server by its address; ``None`` where it is not allowed, or not any more."""
        return self._servers.get(address)
