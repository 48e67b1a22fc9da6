"""Pages of other origins that may ask the store: those that its operator names, and no other."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from flask import Response, request

from serving.config.settings import SettingsError

_MAX_AGE_S = 600
_METHODS = "GET, HEAD, POST, DELETE"
_HEADERS = "Authorization, Accept, Content-Type, Range"
_SHOWN = "Content-Length, Content-Type, Warning, X-Request-Id"


class Cors:
    """Says to browsers whose pages may read answers (the Fetch standard, "CORS protocol").

    Parameters
    ----------
    origins:
        As ``https://viewer.example.org``. Never ``*``: a page would have to be given a token anyway, and who
        gives it out knows where the page is.

    Raises
    ------
    SettingsError
        When one is no origin.
    """

    def __init__(self, origins: Sequence[str]) -> None:
        self._origins = frozenset(_origin(text) for text in origins)

    def finish(self, response: Response) -> Response:
        """Add what a browser asks for, when the present request's page is allowed."""
        if not self._origins:
            return response
        response.headers.add("Vary", "Origin")
        origin = request.headers.get("Origin", "")
        if origin not in self._origins:
            return response
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = _SHOWN
        if request.method == "OPTIONS":
            response.headers["Access-Control-Allow-Methods"] = _METHODS
            response.headers["Access-Control-Allow-Headers"] = _HEADERS
            response.headers["Access-Control-Max-Age"] = str(_MAX_AGE_S)
        return response


def _origin(text: str) -> str:
    """Return an origin as browsers send it."""
    try:
        parts = urlsplit(text)
        is_origin = (
            parts.scheme in ("http", "https")
            and parts.hostname is not None
            and "@" not in parts.netloc
            and parts.path in ("", "/")
            and not (parts.query or parts.fragment)
        )
        port = parts.port
    except ValueError:
        is_origin, port = False, None
    if not is_origin or parts.hostname == "*":
        raise SettingsError(
            f"bad setting: PATHSERVE_STORE_CORS_ORIGINS: {text!r} is no origin; write scheme, host and port "
            "alone, as https://viewer.example.org"
        )
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    usual = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" + ("" if port in (None, usual) else f":{port}")
