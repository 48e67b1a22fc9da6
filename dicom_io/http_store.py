"""HTTP to stores: bounded in time and bytes, tokens kept at their origin, library errors translated here."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urljoin

import urllib3
from urllib3.exceptions import HTTPError, SSLError
from urllib3.response import BaseHTTPResponse, HTTPResponse

from dicom_io.allowlist import StoreAllowList
from dicom_io.credentials import BearerToken
from dicom_io.public_connection import PrivateAddress, public_pool
from dicom_io.urls import StoreUrl, UrlError, parse_url
from serving.errors import Code, ServiceError

_RETRIED = frozenset({429, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 3
_MAX_RETRIES = 5
_BACK_OFF_S = 0.1
_CHUNK = 1 << 16
_REASONS = {401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 429: "Too Many Requests"}


class StoreStatusError(ServiceError):
    """A status that is not success; ``status`` lets the caller give it a meaning of its own."""

    def __init__(self, code: Code, description: str, status: int) -> None:
        super().__init__(code, description)
        self.status = status


@dataclass(frozen=True, slots=True)
class StorePolicy:
    """Which stores may be reached, and how patiently.

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


class HttpStore:
    """GET requests to stores over kept-alive connections; safe to use from many threads.

    Parameters
    ----------
    connections:
        Connections kept open to each host.
    """

    def __init__(self, policy: StorePolicy, connections: int = 16) -> None:
        self._policy = policy
        make = public_pool if policy.public_only else urllib3.PoolManager
        self._pool = make(num_pools=32, maxsize=connections, block=False, retries=False)

    def check(self, url: StoreUrl) -> None:
        """Raise unless the policy lets this address be reached; nothing is sent before that."""
        if not self._policy.allowed.admits(url):
            raise ServiceError(
                Code.UNAPPROVED_DICOM_STORE_ERROR,
                f"The store at {url.host} is not on this service's allow-list "
                "(APPROVED_DICOM_STORE_SOURCE_LIST).",
            )
        if url.scheme == "http" and not (url.is_loopback or self._policy.allow_http):
            raise ServiceError(
                Code.DICOM_PATH_ERROR,
                "The store's address must begin with https://; plain http is for this machine alone unless "
                "PATHSERVE_ALLOW_HTTP_STORES is set.",
            )

    @contextlib.contextmanager
    def get(
        self, url: StoreUrl, query: str, accept: str, token: BearerToken | None, deadline: float
    ) -> Iterator[BaseHTTPResponse]:
        """Send a GET request and yield its successful answer, body unread.

        Parameters
        ----------
        query:
            Query string without the question mark; may be empty.
        deadline:
            ``time.monotonic()`` seconds for everything, retries included.

        Raises
        ------
        StoreStatusError
            INVALID_CREDENTIALS_ERROR for 401 and 403, HTTP_ERROR for any other fault.
        ServiceError
            HTTP_ERROR when the store cannot be reached in time.
        """
        with _translated(url):
            response = self._follow(url, query, accept, token, deadline)
            try:
                yield response
            finally:
                # What was read to its end goes back to the pool; anything else is not worth keeping.
                if isinstance(response, HTTPResponse) and response.isclosed():
                    response.release_conn()
                else:
                    response.close()

    def _follow(
        self, url: StoreUrl, query: str, accept: str, token: BearerToken | None, deadline: float
    ) -> BaseHTTPResponse:
        here, target = url, str(url) + (f"?{query}" if query else "")
        for _ in range(_MAX_REDIRECTS + 1):
            self.check(here)
            headers = {"Accept": accept, "Accept-Encoding": "identity"}
            if token is not None and here.origin == url.origin:
                headers["Authorization"] = token.authorization()
            response = self._send(here, target, headers, deadline)
            if response.status not in _REDIRECTS:
                return response
            location = response.headers.get("Location", "")
            response.close()
            here, target = _redirected(target, location)
        raise ServiceError(Code.HTTP_ERROR, f"The store at {url.host} redirects without end.")

    def _send(
        self, url: StoreUrl, target: str, headers: Mapping[str, str], deadline: float
    ) -> BaseHTTPResponse:
        for attempt in range(_MAX_RETRIES + 1):
            left = deadline - time.monotonic()
            if left <= 0:
                raise ServiceError(Code.HTTP_ERROR, f"The store at {url.host} did not answer in time.")
            response = self._pool.request(
                "GET",
                target,
                headers=dict(headers),
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=min(left, self._policy.timeout_s),
            )
            if response.status in _RETRIED and attempt < _MAX_RETRIES:
                pause = _pause(response, attempt)
                response.close()
                if time.monotonic() + pause < deadline:
                    time.sleep(pause)
                    continue
            if response.status in (200, 206) or response.status in _REDIRECTS:
                return response
            response.close()
            raise _status_error(url, response.status)
        raise AssertionError("unreachable")


def read_limited(response: BaseHTTPResponse, limit: int, deadline: float) -> bytes:
    """Read a whole body of at most ``limit`` bytes."""
    body = bytearray()
    for chunk in iter_body(response, deadline):
        body += chunk
        if len(body) > limit:
            raise ServiceError(Code.HTTP_ERROR, f"The store's answer is larger than {limit} bytes.")
    return bytes(body)


def iter_body(response: BaseHTTPResponse, deadline: float) -> Iterator[bytes]:
    """Yield a body in pieces until the deadline."""
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ServiceError(Code.HTTP_ERROR, "The store compressed its answer though it was asked not to.")
    while chunk := response.read1(_CHUNK):
        yield chunk
        if time.monotonic() > deadline:
            raise ServiceError(Code.HTTP_ERROR, "The store's answer did not arrive in time.")


@contextlib.contextmanager
def _translated(url: StoreUrl) -> Iterator[None]:
    try:
        yield
    except PrivateAddress as error:
        raise ServiceError(
            Code.UNAPPROVED_DICOM_STORE_ERROR,
            f"The store at {url.host} is at an address that is not public (PATHSERVE_REFUSE_PRIVATE_STORES).",
        ) from error
    except SSLError as error:
        raise ServiceError(
            Code.HTTP_ERROR, f"The store at {url.host} could not prove who it is (TLS)."
        ) from error
    except (HTTPError, OSError) as error:
        raise ServiceError(
            Code.HTTP_ERROR, f"The store at {url.host} could not be reached: {type(error).__name__}."
        ) from error


def _redirected(target: str, location: str) -> tuple[StoreUrl, str]:
    joined = urljoin(target, location)
    path, _, query = joined.partition("?")
    try:
        url = parse_url(path)
    except UrlError as error:
        raise ServiceError(Code.HTTP_ERROR, "The store redirects to an address that is not plain.") from error
    return url, str(url) + (f"?{query}" if query else "")


def _pause(response: BaseHTTPResponse, attempt: int) -> float:
    asked = response.headers.get("Retry-After", "")
    return max(float(asked) if asked.isdecimal() else 0.0, float(_BACK_OFF_S * 2**attempt))


def _status_error(url: StoreUrl, status: int) -> StoreStatusError:
    reason = _REASONS.get(status, "")
    said = f"The store at {url.host} answered {status} {reason}".rstrip()
    if status in (401, 403):
        return StoreStatusError(
            Code.INVALID_CREDENTIALS_ERROR, f"{said}; send a bearer_token that may read this series.", status
        )
    return StoreStatusError(Code.HTTP_ERROR, f"{said}.", status)
