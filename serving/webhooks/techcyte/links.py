"""GET requests to presigned links: https alone, to public addresses or to hosts that the settings name.

An address is checked where it is connected to, so that a name which leads elsewhere a moment later does not
help. Redirects are followed here and not by urllib3: each hop is checked again. No text here has more of a
link than its host: the rest of it opens a slide.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urldefrag, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, SSLError
from urllib3.response import BaseHTTPResponse, HTTPResponse

from dicom_io.waiting import Cancellation, Cancelled
from dicom_io.web.bounded_connection import Bounds, bounded, bounded_pool
from dicom_io.web.patience import Patience
from dicom_io.web.public_connection import PrivateAddress, is_metadata_service, is_public
from dicom_io.web.urls import StoreUrl, UrlError, parse_url
from serving.config.settings import Settings, SettingsError
from serving.webhooks.techcyte.faults import ScanError
from serving.webhooks.techcyte.trigger import PresignedUrl

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 3
_BUSY = frozenset({429, 500, 502, 503, 504})
_EXPIRED = frozenset({400, 401, 403})
"""How stores say that a link has expired: S3 and Azure by 403, Google by 400."""

_LONGEST_PAUSE_S = 60.0

Hosts = frozenset[tuple[str, int]]
"""(host in lower case, port) that the settings name."""


class Broken(Exception):
    """The connection could not be made, or ended before the answer did; nothing is wrong with the link."""


def named_hosts(settings: Settings) -> Hosts:
    """Return the hosts of the settings.

    Raises
    ------
    SettingsError
        For one that is none.
    """
    return frozenset(_host(text) for text in settings.techcyte_downloads.hosts or ())


def _host(text: str) -> tuple[str, int]:
    try:
        url = parse_url(f"https://{text}")
        if url.segments or "/" in text:
            raise UrlError("it must be a host, or a host and a port")
    except UrlError as error:
        raise SettingsError(f"PATHSERVE_TECHCYTE_DOWNLOAD_HOSTS: {text!r:.80}: {error}") from error
    if is_metadata_service(url.host):
        raise SettingsError(
            f"PATHSERVE_TECHCYTE_DOWNLOAD_HOSTS: {text} belongs to a cloud's metadata service."
        )
    return url.host.lower(), url.port


class Links:
    """Reads the links of one scan, over connections of its own; use it as a context manager.

    Parameters
    ----------
    timeout_s:
        Longest wait for a connection and for each piece of an answer, in seconds.
    """

    def __init__(self, hosts: Hosts, timeout_s: float, waits: Cancellation) -> None:
        self._hosts = hosts
        self._timeout_s = timeout_s
        self._waits = waits
        self._pool: urllib3.PoolManager = bounded_pool(num_pools=4, maxsize=1, block=False, retries=False)

    def __enter__(self) -> Links:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.clear()

    @contextmanager
    def get(self, link: PresignedUrl, headers: Mapping[str, str]) -> Iterator[BaseHTTPResponse]:
        """Yield a successful answer, its body unread.

        Raises
        ------
        Broken
            Also while the body is read.
        ScanError
            When the link may not be followed, or is refused.
        Cancelled, TimeoutError
        """
        bounds = Bounds(self._waits.deadline, self._timeout_s, stop=self._waits.stop)
        with self._translated(link.origin, bounds), bounded(bounds):
            response = self._follow(link, headers, bounds)
            try:
                yield response
            finally:
                if isinstance(response, HTTPResponse) and response.isclosed():
                    response.release_conn()  # read to its end, the connection serves the next file
                else:
                    response.close()

    def _follow(self, link: PresignedUrl, headers: Mapping[str, str], bounds: Bounds) -> BaseHTTPResponse:
        here = link
        for _ in range(_MAX_REDIRECTS + 1):
            response = self._send(here, headers, bounds)
            if response.status not in _REDIRECTS:
                return response
            response.close()
            try:
                to = urldefrag(urljoin(here.reveal(), response.headers.get("Location", ""))).url
                there = PresignedUrl(to)
            except ValueError as error:  # UrlError is one, and urljoin's of a host in half a bracket
                raise ScanError(f"{link.origin.host} redirects to what is not an address.") from error
            if there.origin.origin != here.origin.origin and not self._is_named(there.origin):
                raise ScanError(
                    f"{link.origin.host} redirects to {there.origin.host}, which is not followed; the "
                    "operator may name that host in PATHSERVE_TECHCYTE_DOWNLOAD_HOSTS."
                )
            here = there
        raise ScanError(f"{link.origin.host} redirects too often.")

    def _send(self, link: PresignedUrl, headers: Mapping[str, str], bounds: Bounds) -> BaseHTTPResponse:
        origin, text = link.origin, link.reveal()
        if origin.scheme != "https":
            raise ScanError("The scan's link does not begin with https://, and is not followed.")
        named = self._is_named(origin)
        bounds.refuses = lambda address: is_metadata_service(address) or not (named or is_public(address))
        # What comes behind the host goes out as it was given: another spelling would not fit the signature.
        target = text.removeprefix(f"https://{urlsplit(text).netloc}")
        patience = Patience(self._waits.deadline, self._waits.stop)
        while True:
            response = self._pool.connection_from_host(origin.host, origin.port, "https").urlopen(
                "GET",
                target if target.startswith("/") else f"/{target}",
                headers={"Accept": "*/*", "Accept-Encoding": "identity", **headers},
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=bounds.left(),
            )
            if response.status in (200, 206) or response.status in _REDIRECTS:
                return response
            response.close()
            if response.status not in _BUSY or not patience.again(asked_s=_retry_after(response)):
                raise _refusal(response.status, origin)

    def _is_named(self, url: StoreUrl) -> bool:
        return (url.host.lower(), url.port) in self._hosts

    @contextmanager
    def _translated(self, url: StoreUrl, bounds: Bounds) -> Iterator[None]:
        try:
            yield
        except PrivateAddress as error:
            raise ScanError(
                f"The scan's link leads to {url.host}, which is not on the public internet; the operator may "
                "name it in PATHSERVE_TECHCYTE_DOWNLOAD_HOSTS."
            ) from error
        except (HTTPError, OSError) as error:
            if bounds.stop.is_set():
                raise Cancelled from error
            bounds.left()  # raises TimeoutError where all time is over
            if _is_of_certificate(error) and (bounds.led_to_public or self._is_named(url)):
                raise ScanError(f"{url.host} could not prove who it is (TLS).") from error
            raise Broken(f"{url.host} could not be reached, or ended its answer") from error


def _is_of_certificate(error: Exception) -> bool:
    cause = error.args[0] if isinstance(error, SSLError) and error.args else None
    return isinstance(cause, ssl.SSLCertVerificationError)


def _refusal(status: int, url: StoreUrl) -> ScanError:
    if status in _EXPIRED:
        why = "the link has expired, or does not permit to read the file; start the analysis again"
    elif status in (404, 410):
        why = "it has no such file any more"
    elif status in _BUSY:
        why = "it is busy; start the analysis again later"
    else:
        why = "the file cannot be read"
    return ScanError(f"{url.host} answered {status}: {why}.")


def _retry_after(response: BaseHTTPResponse) -> float:
    """Return how many seconds an answer asks to wait; a date is not read."""
    text = response.headers.get("Retry-After", "")
    return min(float(text), _LONGEST_PAUSE_S) if text.isascii() and text.isdigit() else 0.0
