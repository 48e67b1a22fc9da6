"""The key of the pseudonyms: a file of its own, that only the service's user reads."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import os
import re
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path

_KEY_BYTES = 32
_TEXT = re.compile(rb"[0-9a-f]{64}\n?")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class UnusableSecrets(Exception):
    """The key or the mapping cannot be used; the text says why and what to do, and holds nothing of them."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key of 256 bits; it does not print.

    The same key gives the same pseudonyms: slides of a study stay together though they come on different
    days and through different doors. Who has it can confirm a guess of who is behind a pseudonym.
    """

    _bytes: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self._bytes) != _KEY_BYTES:
            raise ValueError("a key has 32 bytes")

    @classmethod
    def new(cls) -> Key:
        """Return a random key."""
        return cls(secrets.token_bytes(_KEY_BYTES))

    @property
    def fingerprint(self) -> str:
        """Tells this key from others, and nothing about it."""
        return self._digest("fingerprint", b"")[:8].hex()

    def uid(self, original: str) -> str:
        """Return the UID that stands for another: 128 bits under the root of UUIDs (PS3.5, B.2)."""
        return f"2.25.{int.from_bytes(self._digest('uid', original.encode())[:16], 'big')}"

    def identifier(self, kind: str, original: bytes) -> str:
        """Return what stands for an identifier: 16 letters and digits (80 bits), fit for an SH.

        Parameters
        ----------
        kind:
            What it identifies: the same text as a patient's and a specimen's identifier has two pseudonyms.
        """
        return base64.b32encode(self._digest(kind, original)[:10]).decode("ascii")

    def _digest(self, kind: str, original: bytes) -> bytes:
        return hmac.digest(self._bytes, kind.encode() + b"\0" + original, hashlib.sha256)


def load_key(path: Path) -> Key:
    """Read a key.

    Raises
    ------
    UnusableSecrets
        When it is missing, damaged, or readable by others.
    """
    require_private(path)
    text = path.read_bytes()
    if not _TEXT.fullmatch(text):
        raise UnusableSecrets(
            f"{path} holds no key: it must be 64 hexadecimal digits; restore it from its backup."
        )
    return Key(bytes.fromhex(text.decode("ascii")))


def create_key(path: Path) -> Key:
    """Return the key of a file, made if there is none; of several processes at once, one makes it.

    Raises
    ------
    UnusableSecrets
        As ``load_key``.
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "w", encoding="ascii") as file:
            file.write(f"{secrets.token_hex(_KEY_BYTES)}\n")
            file.flush()
            os.fsync(fd)
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)  # whole or not at all, and never over another
        sync_folder(path.parent)
    finally:
        draft.unlink(missing_ok=True)
    return load_key(path)


def require_private(path: Path) -> None:
    """Refuse a secret that others could read.

    Raises
    ------
    UnusableSecrets
    """
    try:
        mode = path.lstat().st_mode
    except OSError as error:
        raise UnusableSecrets(
            f"{path} cannot be read ({error.strerror}); restore it from its backup."
        ) from None
    if not stat.S_ISREG(mode):
        raise UnusableSecrets(f"{path} must be a file.")
    if mode & _OTHERS:
        raise UnusableSecrets(
            f"{path} may be read by others; run `chmod 600 {path}`, and think of who has seen it."
        )


def sync_folder(folder: Path) -> None:
    """Make what was done to the names in a folder last."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
