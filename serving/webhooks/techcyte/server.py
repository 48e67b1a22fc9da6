"""Techcyte's server: the one of the settings, to which tokens may go."""

from __future__ import annotations

from dicom_io.web.public_connection import is_metadata_service
from dicom_io.web.urls import StoreUrl, UrlError, parse_url
from serving.config.settings import Settings, SettingsError
from serving.webhooks.transport import Peer, Transport

_DENIED = "refused the token ({status}); it has expired, or may not do this."


def server_of(settings: Settings) -> StoreUrl:
    """Return the address of the settings.

    Raises
    ------
    SettingsError
        When it is none, or a token must not be sent to it.
    """
    text = settings.techcyte.url
    try:
        url = parse_url(text)
    except UrlError as error:
        raise SettingsError(f"PATHSERVE_TECHCYTE_URL: {text} is not an address: {error}") from error
    if url.scheme != "https" and not url.is_loopback:
        raise SettingsError(f"PATHSERVE_TECHCYTE_URL: {text} must begin with https://.")
    if is_metadata_service(url.host):
        raise SettingsError(f"PATHSERVE_TECHCYTE_URL: {text} belongs to a cloud's metadata service.")
    return url


def transport_of(settings: Settings) -> Transport:
    """Return what all tasks of a process send by; nothing is connected to before."""
    peer = Peer(server_of(settings), "Techcyte", _DENIED, frozenset({429, 502, 503, 504}), at_a_time=8)
    return Transport(peer, settings.techcyte.timeout_s)
