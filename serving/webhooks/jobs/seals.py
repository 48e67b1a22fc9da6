"""Secrets at rest: sealed by a key of the operator, or by one that only this process group's memory holds."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.fernet import Fernet, InvalidToken
from pydantic import SecretBytes, SecretStr

_KEY = re.compile(r"[A-Za-z0-9_-]{43}=")


class BadKey(ValueError):
    """A key is malformed; the text says what it must be, and holds nothing of it."""


class WrongKey(Exception):
    """A secret was not sealed by any of these keys."""


@dataclass(frozen=True, slots=True)
class JobKeys:
    """The keys of one process group, as they are handed from process to process.

    Attributes
    ----------
    keys:
        The first seals, all open: so a key is replaced by putting the new one before it.
    outlive_crashes:
        Whether they are the operator's, so that a later process group has them, too.
    """

    keys: tuple[SecretStr, ...]
    outlive_crashes: bool

    @classmethod
    def of(cls, configured: Sequence[SecretStr] | None) -> JobKeys:
        """Return the operator's keys, else a new one, with which all that it has sealed will be lost.

        Raises
        ------
        BadKey
        """
        if not configured:
            return cls((SecretStr(Fernet.generate_key().decode("ascii")),), outlive_crashes=False)
        for key in configured:
            _fernet(key)
        return cls(tuple(configured), outlive_crashes=True)


class Seals:
    """Seals secrets and opens them.

    Attributes
    ----------
    current:
        The fingerprint of the key that seals: it tells which key a secret needs, and nothing about the key.
    known:
        The fingerprints of all keys.
    """

    def __init__(self, keys: JobKeys) -> None:
        self._fernets = {_fingerprint(key): _fernet(key) for key in keys.keys}
        self.known = tuple(self._fernets)
        self.current = self.known[0]
        self.outlive_crashes = keys.outlive_crashes

    def seal(self, secret: SecretBytes) -> bytes:
        """Return a secret as it may be stored."""
        return self._fernets[self.current].encrypt(secret.get_secret_value())

    def open(self, sealed: bytes, seal: str) -> SecretBytes:
        """Return what was sealed by the key with a fingerprint.

        Raises
        ------
        WrongKey
        """
        try:
            return SecretBytes(self._fernets[seal].decrypt(sealed))
        except (KeyError, InvalidToken):
            raise WrongKey from None


def _fernet(key: SecretStr) -> Fernet:
    if not _KEY.fullmatch(key.get_secret_value()):  # base64 itself is lenient
        raise BadKey(
            "each key must be 32 random bytes in url-safe base64; make one with "
            "`python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'`"
        )
    return Fernet(key.get_secret_value())


def _fingerprint(key: SecretStr) -> str:
    raw = base64.urlsafe_b64decode(key.get_secret_value())
    return hashlib.blake2s(raw, digest_size=16, person=b"job-key").hexdigest()
