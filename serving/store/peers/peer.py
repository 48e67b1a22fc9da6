"""Who the peers are: a TOML file that the store's operator writes.

::

    [archive]                          # a DICOM node: studies are sent to it by C-STORE
    kind = "dicom"
    host = "10.0.0.5"
    port = 4242
    ae_title = "ARCHIVE"

    [partner]                          # DICOMweb: studies are sent by STOW-RS, and pulled
    kind = "dicomweb"
    url = "https://partner.example.org/dicomweb"
    token_file = "/run/secrets/partner"

    [old]                              # a Slicebox: series are pulled from it
    kind = "slicebox"
    url = "https://slicebox.example.org"
    user = "reader"
    password_file = "/run/secrets/slicebox"
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import SecretStr

from dicom_io.web.public_connection import is_this_machine

_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")
_TITLE = re.compile(r"[!-\[\]-~][ -\[\]-~]{0,15}")
"""PS3.5, 6.2: an AE is of the default repertoire without backslash and controls."""

_DICOM_KEYS = frozenset({"kind", "host", "port", "ae_title", "calling"})
_WEB_KEYS = frozenset({"kind", "url", "token_file", "user", "password_file", "rewrites"})


class BadPeers(Exception):
    """The file of peers cannot be used; the message says what to change, and holds no secret."""


@dataclass(frozen=True, slots=True)
class NodePeer:
    """A DICOM node.

    Attributes
    ----------
    ae_title:
        What it is called.
    calling:
        What we call ourselves; ``None`` is the store's own title.
    """

    name: str
    host: str
    port: int
    ae_title: str
    calling: str | None = None


@dataclass(frozen=True, slots=True)
class WebPeer:
    """A store that is reached by HTTP.

    Attributes
    ----------
    url:
        Of its DICOMweb, or of a Slicebox, without a slash at its end.
    token:
        Sent as a bearer token.
    user, password:
        Sent by HTTP Basic.
    rewrites:
        Whether it keeps instances in an encoding of its own, so that their bytes cannot be compared.
    """

    name: str
    kind: Literal["dicomweb", "slicebox"]
    url: str
    token: SecretStr | None = None
    user: str | None = None
    password: SecretStr | None = None
    rewrites: bool = False


Peer = NodePeer | WebPeer


def read_peers(path: Path, *, allow_http: bool) -> Mapping[str, Peer]:
    """Read the peers of a file.

    Parameters
    ----------
    allow_http:
        Whether peers on other machines may be reached by plain http.

    Raises
    ------
    BadPeers
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadPeers(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise BadPeers(f"{path} is not TOML") from None
    return {name: _peer(name, table, allow_http) for name, table in tables.items()}


def _peer(name: str, table: object, allow_http: bool) -> Peer:
    if not _NAME.fullmatch(name) or not isinstance(table, dict):
        raise BadPeers(f"{name[:40]!r} must be a table whose name has letters, digits, - and _ alone")
    match table.get("kind"):
        case "dicom":
            _require_known(name, table, _DICOM_KEYS)
            return _node(name, table)
        case "dicomweb" | "slicebox" as kind:
            _require_known(name, table, _WEB_KEYS)
            return _web(name, kind, table, allow_http)
    raise BadPeers(f'{name}: kind must be "dicom", "dicomweb" or "slicebox"')


def _require_known(name: str, table: Mapping[str, Any], known: frozenset[str]) -> None:
    if unknown := sorted(set(table) - known):
        raise BadPeers(f"{name}: {unknown[0]} is not a key of it; there are {', '.join(sorted(known))}")


def _node(name: str, table: Mapping[str, Any]) -> NodePeer:
    host, port, title = (table.get(key) for key in ("host", "port", "ae_title"))
    calling = table.get("calling")
    if not isinstance(host, str) or not host:
        raise BadPeers(f"{name}: host must be the node's name or address")
    if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 1 << 16:
        raise BadPeers(f"{name}: port must be a number from 1 to 65535")
    for key, value in (("ae_title", title), ("calling", calling)):
        if (value is not None or key == "ae_title") and not (
            isinstance(value, str) and _TITLE.fullmatch(value)
        ):
            raise BadPeers(f"{name}: {key} must be an AE title: 1 to 16 characters of ASCII")
    assert isinstance(title, str), "it has just been looked at"
    return NodePeer(name, host, port, title, calling)


def _web(
    name: str, kind: Literal["dicomweb", "slicebox"], table: Mapping[str, Any], allow_http: bool
) -> WebPeer:
    user = table.get("user")
    if (user is None) != ("password_file" not in table) or not isinstance(user, str | None):
        raise BadPeers(f"{name}: user and password_file must be set together")
    if user is not None and "token_file" in table:
        raise BadPeers(f"{name}: it has both a token and a user; set one of them")
    rewrites = table.get("rewrites", False)
    if not isinstance(rewrites, bool):
        raise BadPeers(f"{name}: rewrites must be true or false")
    return WebPeer(
        name,
        kind,
        _url(name, table.get("url"), allow_http),
        _secret(name, table, "token_file"),
        user,
        _secret(name, table, "password_file"),
        rewrites,
    )


def _url(name: str, given: object, allow_http: bool) -> str:
    try:
        parts = urlsplit(given if isinstance(given, str) else "")
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if host is None or parts.scheme not in ("http", "https") or "@" in parts.netloc:
        raise BadPeers(f"{name}: url must be an http or https address without a user in it")
    if parts.query or parts.fragment:
        raise BadPeers(f"{name}: url must have no ? and no #")
    if parts.scheme == "http" and not (allow_http or _is_here(host)):
        raise BadPeers(
            f"{name}: url is plain http to another machine: use https, or set PATHSERVE_ALLOW_HTTP_STORES"
        )
    return parts.geturl().rstrip("/")


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or is_this_machine(host)
    except ValueError:  # a name, which may lead anywhere
        return False


def _secret(name: str, table: Mapping[str, Any], key: str) -> SecretStr | None:
    path = table.get(key)
    if path is None:
        return None
    if not isinstance(path, str):
        raise BadPeers(f"{name}: {key} must be the path of a file")
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadPeers(f"{name}: {key} cannot be read: {type(error).__name__}") from None
    if not text or "\n" in text:
        raise BadPeers(f"{name}: {key} must hold one line")
    return SecretStr(text)
