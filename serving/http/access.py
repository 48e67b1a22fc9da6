"""Access to the service itself: optional bearer keys, and headers that restrict what browsers do with it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from flask import Response
from pydantic import SecretStr

from serving.errors import Code, ServiceError

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class ApiKeys:
    """The service's own keys; without any, everyone is let in.

    Keys are compared by their digests, in constant time and all of them each time: how long a refusal
    takes tells nothing about how much of a guess was right.
    """

    def __init__(self, keys: Sequence[SecretStr] | None) -> None:
        self._digests = [_digest(key.get_secret_value()) for key in keys or ()]

    def require(self, authorization: str | None) -> None:
        """Let a request in by its Authorization header.

        Raises
        ------
        ServiceError
            API_KEY_ERROR
        """
        if not self._digests:
            return
        scheme, _, given = (authorization or "").partition(" ")
        digest = _digest(given.strip() if scheme.lower() == "bearer" else "")
        if sum(hmac.compare_digest(digest, known) for known in self._digests) == 0:
            raise ServiceError(
                Code.API_KEY_ERROR,
                "Send one of this service's keys: Authorization: Bearer KEY (PATHSERVE_API_KEYS).",
            )


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "replace")).digest()


def secured(response: Response) -> Response:
    """Return an answer with the headers that every answer has; those that it already has stay."""
    # One look for all: asking Headers for one that is not there takes an exception.
    given = {name.lower() for name, _ in response.headers}
    for name, value in _HEADERS.items():
        if name.lower() not in given:
            response.headers.add(name, value)
    if response.status_code == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response
