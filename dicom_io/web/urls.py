"""Addresses of stores: parsed once, into parts that can be compared; never matched as text.

Stricter than ``urllib.parse`` and than any client, because an allow-list stands on it:

- an address that two parsers could read differently is refused, not normalised;
- a path may not lead upwards in any decoding, so that whole segments can be compared;
- a host is compared exactly.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

_PORTS = {"https": 443, "http": 80}
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]")
_SEGMENT = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@-]+")
_SEPARATORS = re.compile(r"[/\\]")
_MAX_DECODINGS = 3


class UrlError(ValueError):
    """An address that is not accepted; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """An address in parts.

    Attributes
    ----------
    host:
        As given; compared exactly with an allow-list.
    segments:
        Path segments, without dots; without percent-encoding or empty ones either, unless a store gave it.
    query:
        What a store gave after a question mark.
    """

    scheme: str
    host: str
    port: int
    segments: tuple[str, ...]
    query: str = ""

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: where a token may go."""
        return self.scheme, self.host.lower(), self.port

    @property
    def is_loopback(self) -> bool:
        """Whether the host is this machine by its name or address."""
        name = self.host.strip("[]").lower()
        if name == "localhost":
            return True
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        query = f"?{self.query}" if self.query else ""
        return f"{self.scheme}://{self.host}{port}" + "".join(f"/{s}" for s in self.segments) + query

    def child(self, *segments: str, query: str = "") -> StoreUrl:
        """Return the address below this one."""
        return StoreUrl(self.scheme, self.host, self.port, (*self.segments, *segments), query)


def parse_url(text: str) -> StoreUrl:
    """Parse an address of a store.

    Raises
    ------
    UrlError
        For anything that two parsers could read differently: user information, a query, a fragment,
        percent-encoding, dot segments, backslashes, spaces, a trailing dot of the host.
    """
    parts = _split(text)
    if parts.scheme not in _PORTS or not text.startswith(f"{parts.scheme}://"):
        raise UrlError("it must begin with https://")
    if "@" in parts.netloc or parts.query or parts.fragment or "?" in text or "#" in text:
        raise UrlError("it must have no user name, query or fragment")
    host, port = _host_and_port(parts)
    path = parts.path.removesuffix("/")
    segments = tuple(path.split("/")[1:])
    for segment in segments:
        if not _SEGMENT.fullmatch(segment) or _is_dots(segment):
            raise UrlError("its path must be plain: no empty or dot segments and no percent-encoding")
    return StoreUrl(parts.scheme, host, port, segments)


def resolve_reference(base: StoreUrl, reference: str) -> StoreUrl:
    """Return where an address that a store gave leads (RFC 3986, section 5).

    At the store's own origin its path may have empty segments and percent-encoding, but none that could be
    read as leading upwards, however often it is decoded: what begins with the segments of an allow-list's
    entry stays below it. Elsewhere the address must be as plain as a caller's. Either may have a query.

    Parameters
    ----------
    base:
        What a relative reference begins from; as a folder where its last segment is empty.

    Raises
    ------
    UrlError
    """
    _split(reference)
    address, _, _ = urljoin(str(base), reference).partition("#")
    plain, _, query = address.partition("?")
    parts = _split(plain)
    if parts.scheme not in _PORTS or "@" in parts.netloc:
        raise UrlError("it must begin with https:// and have no user name")
    host, port = _host_and_port(parts)
    segments = tuple(parts.path.split("/")[1:])
    found = StoreUrl(parts.scheme, host, port, segments, query)
    if found.origin != base.origin:
        return replace(parse_url(plain), query=query)
    if any(_leads_upwards(segment) for segment in segments):
        raise UrlError("its path must have no dot segments, encoded ones included")
    return found


def _leads_upwards(segment: str) -> bool:
    """Return whether some server could read a segment as one or more that lead upwards."""
    for _ in range(_MAX_DECODINGS):
        if any(_is_dots(piece) for piece in _SEPARATORS.split(segment)) or not segment.isprintable():
            return True
        decoded = unquote(segment, errors="replace")
        if decoded == segment:
            return False
        segment = decoded
    return True


def _is_dots(segment: str) -> bool:
    """Return whether a segment is ``.`` or ``..``; some servers ignore what follows a semicolon."""
    return segment.partition(";")[0] in (".", "..")


def _split(text: str) -> SplitResult:
    if any(c in text for c in "\\ \t\r\n") or not text.isascii() or not text.isprintable():
        raise UrlError("it must have no spaces, backslashes, control or non-ASCII characters")
    try:
        return urlsplit(text)
    except ValueError as error:
        raise UrlError("it is not a URL") from error


def _host_and_port(parts: SplitResult) -> tuple[str, int]:
    host, colon, port = (
        parts.netloc.rpartition(":") if not parts.netloc.endswith("]") else (parts.netloc, "", "")
    )
    if not colon:
        host = parts.netloc
    if not _HOST.fullmatch(host) or ".." in host:
        raise UrlError("its host is not plain")
    if not colon:
        return host, _PORTS[parts.scheme]
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise UrlError("its port is not a valid port number")
    return host, int(port)
