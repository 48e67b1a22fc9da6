"""Bearer tokens: a type that does not print, does not pickle and leaves only on purpose."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import NoReturn

from dicom_io.errors import ImageCode, ImageError

_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")
_KEY = secrets.token_bytes(32)


class BearerToken:
    """A caller's token for the store that the caller names (RFC 6750, section 2.1).

    Raises
    ------
    ImageError
        INVALID_CREDENTIALS_ERROR when it could not be sent in a header.
    """

    __slots__ = ("_secret",)

    def __init__(self, secret: str) -> None:
        if not _TOKEN.fullmatch(secret):
            raise ImageError(
                ImageCode.INVALID_CREDENTIALS_ERROR,
                "The bearer token has spaces, control or non-ASCII characters, or is too long; send the "
                "token alone, without the word Bearer.",
            )
        self._secret = secret

    def authorization(self) -> str:
        """Return the value of the Authorization header."""
        return f"Bearer {self._secret}"

    def reveal(self) -> str:
        """Return the token itself, for a library that puts it into a header."""
        return self._secret

    def fingerprint(self) -> bytes:
        """Return a keyed hash that names the token in cache keys of this process, and nowhere else."""
        return hmac.digest(_KEY, self._secret.encode("ascii"), hashlib.sha256)

    def __repr__(self) -> str:
        return "BearerToken(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a token is not serialised")


def fingerprint(token: BearerToken | None) -> bytes:
    """Return a token's fingerprint; of no token, nothing."""
    return b"" if token is None else token.fingerprint()
