"""HTTP to stores: bounded in time and bytes, tokens kept at their origin, library errors translated here.

Redirects are followed here and not by urllib3: each hop is checked against the allow-list and the address
rules again, and a token is never sent to another origin than the one that the caller named.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import urllib3
from urllib3.exceptions import HTTPError, InvalidHeader, NewConnectionError, SSLError
from urllib3.exceptions import TimeoutError as HttpTimeoutError
from urllib3.response import BaseHTTPResponse, HTTPResponse

from dicom_io.errors import ImageCode, ImageError, Remedy
from dicom_io.web.allowlist import StoreAllowList
from dicom_io.web.at_once import AtOnce
from dicom_io.web.bounded_connection import Bounds, bounded, bounded_pool
from dicom_io.web.credentials import BearerToken
from dicom_io.web.patience import Patience
from dicom_io.web.public_connection import PrivateAddress, is_metadata_service, is_public, is_this_machine
from dicom_io.web.urls import StoreUrl, UrlError, resolve_reference

_BUSY = frozenset({429, 502, 503, 504})
_SUCCESS = frozenset({200, 204, 206})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 3
_RETRIES_WHEN_BUSY = 5
_CHUNK = 1 << 16
_REASONS = {401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 429: "Too Many Requests"}

T = TypeVar("T")


class StoreStatusError(ImageError):
    """The store answered with an error; callers give ``status`` a meaning of their own."""

    def __init__(
        self, code: ImageCode, description: str, remedy: Remedy | None = None, *, status: int
    ) -> None:
        super().__init__(code, description, remedy)
        self.status = status


class LostConnection(ImageError):
    """The connection broke. All requests are GETs, so that trying again is always safe."""


@dataclass(frozen=True, slots=True)
class StorePolicy:
    """Which stores may be reached, and how long they may take.

    Attributes
    ----------
    allow_http:
        Whether plain http is allowed to other machines than this one.
    timeout_s:
        Longest wait for a connection and for each piece of an answer, in seconds.
    public_only:
        Whether only public addresses are connected to.
    """

    allowed: StoreAllowList
    allow_http: bool
    timeout_s: float
    public_only: bool = False

    def refuses(self, address: str) -> bool:
        """Return whether an IP address is out of bounds even when the caller named it."""
        return is_metadata_service(address) or (self.public_only and not is_public(address))

    def refuses_redirect(self, address: str) -> bool:
        """Return whether an IP address is out of bounds when a store's redirect named it."""
        return is_this_machine(address) or self.refuses(address)


class HttpStore:
    """GET requests to stores over kept-alive connections; safe to use from many threads.

    Parameters
    ----------
    connections:
        Connections kept open to each host.
    at_once:
        Bounds the requests in flight to each origin.
    """

    def __init__(self, policy: StorePolicy, connections: int = 16, at_once: AtOnce | None = None) -> None:
        self._policy = policy
        self._at_once = at_once or AtOnce()
        # Two pools: urllib3 reuses connections by host name, and an address that a caller may reach is not
        # always one that a redirect may lead to.
        self._named, self._redirected = (
            bounded_pool(num_pools=32, maxsize=connections, block=False, retries=False) for _ in range(2)
        )

    def check(self, url: StoreUrl) -> None:
        """Raise unless the policy allows this address; called before anything is sent."""
        if not self._policy.allowed.admits(url):
            raise ImageError(
                ImageCode.UNAPPROVED_DICOM_STORE_ERROR,
                f"The store at {url.host} is not on this service's allow-list.",
                Remedy.APPROVE_STORE,
            )
        if url.scheme == "http" and not (url.is_loopback or self._policy.allow_http):
            raise ImageError(
                ImageCode.DICOM_PATH_ERROR,
                "The store's address must begin with https://; plain http is for this machine alone.",
                Remedy.ALLOW_HTTP,
            )
        if is_metadata_service(url.host):
            raise ImageError(
                ImageCode.UNAPPROVED_DICOM_STORE_ERROR,
                f"{url.host} belongs to a cloud's metadata service, which is never read.",
            )

    def read(
        self,
        url: StoreUrl,
        accept: str,
        token: BearerToken | None,
        patience: Patience,
        consume: Callable[[BaseHTTPResponse], T],
    ) -> T:
        """Send a GET request and return what ``consume`` makes of the answer; lost connections are retried.

        Raises
        ------
        ImageError
            As ``get``, and whatever ``consume`` raises.
        """
        while True:
            try:
                with self.get(url, accept, token, patience) as response:
                    return consume(response)
            except LostConnection:
                if not patience.again():
                    raise

    @contextlib.contextmanager
    def get(
        self, url: StoreUrl, accept: str, token: BearerToken | None, patience: Patience
    ) -> Iterator[BaseHTTPResponse]:
        """Send a GET request and yield its successful answer, body unread.

        Raises
        ------
        StoreStatusError
            INVALID_CREDENTIALS_ERROR for 401 and 403, HTTP_ERROR for any other fault.
        LostConnection
            HTTP_ERROR when the connection broke, here or while the body was read.
        ImageError
            HTTP_ERROR when the store cannot be reached in time.
        """
        bounds = Bounds(patience.deadline, self._policy.timeout_s, stop=patience.stop)
        with self._at_once.at(url.origin, patience.deadline), _translated(url, bounds):
            response = self._follow(url, accept, token, patience, bounds)
            try:
                yield response
            finally:
                # A body read to its end leaves a clean connection for the pool; draining the rest of any
                # other could take longer than connecting again.
                if isinstance(response, HTTPResponse) and response.isclosed():
                    response.release_conn()
                else:
                    response.close()

    def _follow(
        self, url: StoreUrl, accept: str, token: BearerToken | None, patience: Patience, bounds: Bounds
    ) -> BaseHTTPResponse:
        here, at_home = url, True
        for _ in range(_MAX_REDIRECTS + 1):
            self.check(here)
            headers = {"Accept": accept, "Accept-Encoding": "identity"}
            # Once a redirect has left the origin, a later one back to it is chosen by the other side: the
            # token is not sent again.
            at_home = at_home and here.origin == url.origin
            if token is not None and at_home:
                headers["Authorization"] = token.authorization()
            # Stores on this machine may redirect to one another; no other store may redirect to this machine.
            named = at_home or (url.is_loopback and here.is_loopback)
            response = self._send(here, named, headers, patience, bounds)
            if response.status not in _REDIRECTS:
                return response
            location = response.headers.get("Location", "")
            response.close()
            try:
                here = resolve_reference(here, location)
            except UrlError as error:
                raise ImageError(
                    ImageCode.HTTP_ERROR, "The store redirects to an address that cannot be followed."
                ) from error
        raise ImageError(ImageCode.HTTP_ERROR, f"The store at {url.host} redirects too often.")

    def _send(
        self, url: StoreUrl, named: bool, headers: Mapping[str, str], patience: Patience, bounds: Bounds
    ) -> BaseHTTPResponse:
        pool = self._named if named else self._redirected
        bounds.refuses = self._policy.refuses if named else self._policy.refuses_redirect
        while True:
            with bounded(bounds):
                response = pool.request(
                    "GET",
                    str(url),
                    headers=dict(headers),
                    redirect=False,
                    retries=False,
                    preload_content=False,
                    decode_content=False,
                    timeout=bounds.left(),
                )
            if response.status in _SUCCESS or response.status in _REDIRECTS:
                return response
            asked = retry_after(response)
            response.close()
            if response.status not in _BUSY or not patience.again(_RETRIES_WHEN_BUSY, asked):
                raise _status_error(url, response.status)


def read_limited(response: BaseHTTPResponse, limit: int) -> bytes:
    """Read a whole body of at most ``limit`` bytes."""
    body = bytearray()
    for chunk in iter_body(response):
        body += chunk
        if len(body) > limit:
            raise ImageError(ImageCode.HTTP_ERROR, f"The store's answer is larger than {limit} bytes.")
    return bytes(body)


def iter_body(response: BaseHTTPResponse) -> Iterator[bytes]:
    """Yield a body in pieces, until its request's deadline."""
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ImageError(ImageCode.HTTP_ERROR, "The store compressed its answer though it was asked not to.")
    while chunk := response.read1(_CHUNK):
        yield chunk


@contextlib.contextmanager
def _translated(url: StoreUrl, bounds: Bounds) -> Iterator[None]:
    """Translate the library's errors.

    One sentence stands for all ways not to connect: telling a closed port from a silent one would let
    callers scan a network that they cannot reach themselves.
    """
    try:
        yield
    except PrivateAddress as error:
        raise ImageError(
            ImageCode.UNAPPROVED_DICOM_STORE_ERROR,
            f"The store at {url.host} is, or leads to, an address that may not be reached: a cloud's "
            "metadata service, this machine by a redirect, or one that is not public.",
            Remedy.ALLOW_PRIVATE,
        ) from error
    except (HTTPError, OSError) as error:
        if isinstance(error, SSLError) and bounds.led_to_public:
            raise ImageError(
                ImageCode.HTTP_ERROR, f"The store at {url.host} could not prove who it is (TLS)."
            ) from error
        # In urllib3 a refused connection (NewConnectionError) is a subclass of the connect time-out.
        timed_out = isinstance(error, (HttpTimeoutError, TimeoutError)) and not isinstance(
            error, NewConnectionError
        )
        kind = ImageError if timed_out else LostConnection
        raise kind(
            ImageCode.HTTP_ERROR,
            f"The store at {url.host} could not be reached or did not answer in time; check its address and "
            "that it is running.",
        ) from error


def retry_after(response: BaseHTTPResponse) -> float:
    """Return the seconds of a Retry-After header, 0 without a usable one (RFC 9110, section 10.2.3)."""
    try:
        return urllib3.Retry().get_retry_after(response) or 0.0
    except (InvalidHeader, ValueError, OverflowError):
        return 0.0


def _status_error(url: StoreUrl, status: int) -> StoreStatusError:
    reason = _REASONS.get(status, "")
    said = f"The store at {url.host} answered {status} {reason}".rstrip()
    if status in (401, 403):
        return StoreStatusError(
            ImageCode.INVALID_CREDENTIALS_ERROR, f"{said}.", Remedy.A_TOKEN, status=status
        )
    return StoreStatusError(ImageCode.HTTP_ERROR, f"{said}.", status=status)
