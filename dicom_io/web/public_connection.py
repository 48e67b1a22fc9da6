"""Which addresses stores may be at: public ones, this machine's, and those that are never read.

Sources: the special-purpose address registries of IANA (IPv4, IPv6), of which Python's ``ipaddress`` knows
a part that differs from release to release, and the clouds' own pages for their metadata services.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from urllib3.exceptions import NewConnectionError

_NAT64 = ip_network("64:ff9b::/96")
_IPV4_COMPATIBLE = ip_network("::/96")
_GLOBAL_UNICAST = ip_network("2000::/3")
_NOT_PUBLIC = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8", "100.64.0.0/10", "168.63.129.16/32", "192.0.0.0/24", "192.88.99.0/24",
        "198.18.0.0/15", "2001::/23", "2001:db8::/32", "3fff::/20",
    )
)  # fmt: skip
"""Not public, though some releases of ``ipaddress`` call them global."""

_METADATA_SERVICES = tuple(
    ip_network(text)
    for text in (
        "169.254.0.0/16", "fe80::/10",  # most clouds', among them those of containers
        "fd00:ec2::/32", "fd20:ce::254/128", "fd00:c1::a9fe:a9fe/128",  # Amazon, Google, Oracle by IPv6
        "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32",  # Alibaba, Azure, Oracle
    )
)  # fmt: skip
_METADATA_NAMES = frozenset(
    {
        "metadata.google.internal", "metadata.goog", "metadata", "instance-data",
        "instance-data.ec2.internal",
    }
)  # fmt: skip


class PrivateAddress(NewConnectionError):
    """The name leads to an address that this request may not reach."""


def is_public(address: str) -> bool:
    """Return whether an IP address is on the public internet.

    Loopback, private, link-local (the metadata services of clouds among them), multicast and reserved
    addresses are not, nor are IPv6 addresses that embed such an IPv4 address.
    """
    ip = _parsed(address)
    inner = _standing_for(ip)
    if inner is not None:
        ip = inner
    if isinstance(ip, IPv6Address) and ip not in _GLOBAL_UNICAST:
        return False
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _NOT_PUBLIC)


def is_metadata_service(host: str) -> bool:
    """Return whether a name or an IP address is where a cloud hands credentials to its machines."""
    name = host.strip("[]").rstrip(".").lower()
    try:
        ip = _parsed(name)
    except ValueError:
        return name in _METADATA_NAMES
    return any(_plain(ip) in network for network in _METADATA_SERVICES)


def is_this_machine(address: str) -> bool:
    """Return whether an IP address, however it is written, is this machine or on its local link."""
    ip = _plain(_parsed(address))
    return ip.is_loopback or ip.is_link_local or ip.is_unspecified


def _parsed(address: str) -> IPv4Address | IPv6Address:
    return ip_address(address.partition("%")[0])


def _plain(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    inner = _standing_for(ip)
    if inner is None and ip in _IPV4_COMPATIBLE and int(ip) > 1:
        inner = IPv4Address(int(ip))
    return ip if inner is None else inner


def _standing_for(ip: IPv4Address | IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 address leads to by mapping or translation."""
    if isinstance(ip, IPv4Address):
        return None
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
