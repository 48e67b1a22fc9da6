"""Connections to public addresses only: names are resolved here, and what was checked is connected to."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError
from urllib3.util.connection import create_connection

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class PrivateAddress(NewConnectionError):
    """The name leads to an address that is not public."""


def is_public(address: str) -> bool:
    """Say whether an IP address is one of the public internet.

    Not so are loopback, private, link-local (among them the metadata services of clouds), multicast and
    reserved addresses, and IPv6 addresses that stand for such IPv4 addresses.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            ip = inner
    return ip.is_global and not ip.is_multicast


class _PublicOnly(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        """Resolve, check every address, and connect to one that was checked."""
        try:
            found = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise NewConnectionError(self, "the name cannot be resolved") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not all(is_public(address) for address in addresses):
            raise PrivateAddress(self, "the name leads to an address that is not public")
        last: OSError | None = None
        for address in addresses:
            try:
                sock = create_connection(
                    (address, self.port), self.timeout, socket_options=self.socket_options
                )
            except OSError as error:
                last = error
                continue
            if not is_public(sock.getpeername()[0]):  # e.g. led elsewhere by the machine's own routing
                with contextlib.suppress(OSError):
                    sock.close()
                raise PrivateAddress(self, "the connection leads to an address that is not public")
            return sock
        raise NewConnectionError(self, "no address could be connected to") from last


class _PublicHttps(_PublicOnly, HTTPSConnection):
    pass


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _PublicOnly


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _PublicHttps


def public_pool(**options: Any) -> urllib3.PoolManager:
    """Return a pool of connections to public addresses; options as for ``urllib3.PoolManager``."""
    pool = urllib3.PoolManager(**options)
    pool.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
    return pool
