"""Connections that end by their request's deadline, and lead only to addresses that the request may reach.

A time-out for each read is not a deadline: a server that sends a byte now and then, in the head of an answer
or in its body, would be read from forever. So every wait of a connection (the name, connecting, TLS, each
read) is given what is left of the request's own time, and another thread can end it before that.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError
from urllib3.util.connection import create_connection

from dicom_io.waiting import Stop
from dicom_io.web.public_connection import PrivateAddress, is_public

_LOOKUPS = threading.BoundedSemaphore(64)
"""Name lookups at a time: one that timed out continues in its thread, since libc's call cannot be ended."""


@dataclass(slots=True)
class Bounds:
    """What one request may wait for, and where it may lead.

    Attributes
    ----------
    deadline:
        ``time.monotonic()`` seconds for everything.
    piece_s:
        Longest wait for a connection and for each piece of an answer, in seconds.
    refuses:
        Whether an IP address may not be connected to.
    led_to_public:
        Whether a connection was tried and every address of the name was public.
    """

    deadline: float
    piece_s: float
    refuses: Callable[[str], bool] = lambda _: False
    stop: Stop = field(default_factory=Stop)
    led_to_public: bool = False

    def left(self) -> float:
        """Return how long the next wait may be, in seconds.

        Raises
        ------
        TimeoutError
            When the deadline has passed or all has been ended.
        """
        left = self.deadline - time.monotonic()
        if left <= 0 or self.stop.is_set():
            raise TimeoutError("the request's time is over")
        return min(left, self.piece_s)


_CURRENT: ContextVar[Bounds] = ContextVar("bounds of the request that this thread sends")


@contextlib.contextmanager
def bounded(bounds: Bounds) -> Iterator[None]:
    """Apply bounds to the requests that a ``with`` block sends over ``bounded_pool``.

    A context variable carries them: between here and the socket is urllib3, or google-cloud-storage and
    requests, none of which would pass them on.
    """
    token = _CURRENT.set(bounds)
    try:
        yield
    finally:
        _CURRENT.reset(token)


class _BoundedReads(io.RawIOBase):
    """Reads a socket, each time for no longer than is left."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, bounds: Bounds) -> None:
        self._raw, self._sock, self._bounds = raw, sock, bounds
        self.at_end = False
        bounds.stop.watch(sock)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._bounds.left())
        count = self._raw.readinto(buffer)
        self.at_end = count == 0
        return count

    def close(self) -> None:
        if not self.closed:
            self._bounds.stop.leave(self._sock)
            self._raw.close()
            super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        raw = self.fp.detach()
        self._reader = _BoundedReads(raw, sock, _CURRENT.get())
        self.fp = io.BufferedReader(self._reader)

    def begin(self) -> None:
        super().begin()
        # http.client takes a head that is cut off after its first line for a complete one.
        if self._reader.at_end:
            raise http.client.RemoteDisconnected("the head of the answer is cut off")


class _Bounded(HTTPConnection):
    response_class = _Response

    def _new_conn(self) -> socket.socket:
        """Resolve, check every address, and connect to one that was checked."""
        bounds = _CURRENT.get()
        try:
            addresses = _resolve(self._dns_host.strip("[]"), self.port, bounds.left())
        except TimeoutError as error:
            raise ConnectTimeoutError(self, "the name was not resolved in time") from error
        except OSError as error:
            raise NewConnectionError(self, "the name cannot be resolved") from error
        bounds.led_to_public = all(is_public(address) for address in addresses)
        if any(bounds.refuses(address) for address in addresses):
            raise PrivateAddress(self, "the name leads to an address that may not be reached")
        return self._connected(addresses, bounds)

    def _connected(self, addresses: list[str], bounds: Bounds) -> socket.socket:
        last: OSError | None = None
        for address in addresses:
            try:
                sock = create_connection(
                    (address, self.port), bounds.left(), socket_options=self.socket_options
                )
            except OSError as error:
                last = error
                continue
            # Ask the socket, too: the machine's own routing or NAT may lead elsewhere.
            if bounds.refuses(sock.getpeername()[0]):
                sock.close()
                raise PrivateAddress(self, "the connection leads to an address that may not be reached")
            return sock
        if isinstance(last, TimeoutError):
            raise ConnectTimeoutError(self, "no address answered in time") from last
        raise NewConnectionError(self, "no address could be connected to") from last


def _resolve(host: str, port: int | None, wait_s: float) -> list[str]:
    """Return the addresses of a name, looked up in a thread of its own: libc's call cannot be ended."""
    if not _LOOKUPS.acquire(timeout=wait_s):
        raise TimeoutError
    found: Future[list[str]] = Future()

    def look_up() -> None:
        try:
            entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.set_result(list(dict.fromkeys(str(entry[4][0]) for entry in entries)))
        except (OSError, UnicodeError) as error:  # a label that is too long is a UnicodeError
            found.set_exception(error if isinstance(error, OSError) else OSError("no name"))
        finally:
            _LOOKUPS.release()

    threading.Thread(target=look_up, name="resolve", daemon=True).start()
    return found.result(wait_s)


class _BoundedHttps(_Bounded, HTTPSConnection):
    pass


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Bounded


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _BoundedHttps


def bounded_pool(**options: Any) -> urllib3.PoolManager:
    """Return a pool whose requests are sent inside ``bounded``; options as for ``urllib3.PoolManager``.

    An address is checked when it is connected to, not when a kept-alive connection is used again: requests
    that may reach different addresses need separate pools.
    """
    return hold_to_bounds(urllib3.PoolManager(**options))


def hold_to_bounds(pool: urllib3.PoolManager) -> urllib3.PoolManager:
    """Make a pool's requests keep to ``bounded``, those through a proxy included."""
    pool.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
    return pool
