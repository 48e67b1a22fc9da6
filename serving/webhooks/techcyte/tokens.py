"""Tokens of tasks: which can be used, as far as that is seen from outside."""

from __future__ import annotations

import base64
import binascii
import time

import orjson

from dicom_io.errors import ImageError
from dicom_io.web.credentials import BearerToken

_CLOCKS_DIFFER_S = 300.0


def usable_token(value: object) -> BearerToken | None:
    """Return a token, unless it cannot be sent, or says itself that it has expired (RFC 7519, 4.1.4)."""
    if not isinstance(value, str) or not value:
        return None
    try:
        token = BearerToken(value)
    except ImageError:
        return None
    expires = _expiry(value)
    return None if expires is not None and expires + _CLOCKS_DIFFER_S < time.time() else token


def decoded(text: str) -> bytes:
    """Return what base64 in either alphabet, padded or not, says; nothing where it is none."""
    plain = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _expiry(token: str) -> float | None:
    """Return when a JSON Web Token expires, in seconds since 1970; ``None`` where it does not say."""
    parts = token.split(".")
    try:
        claims = orjson.loads(decoded(parts[1])) if len(parts) == 3 else None
    except orjson.JSONDecodeError:
        return None
    expires = claims.get("exp") if isinstance(claims, dict) else None
    return float(expires) if isinstance(expires, (int, float)) and not isinstance(expires, bool) else None
