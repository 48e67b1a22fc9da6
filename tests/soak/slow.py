"""Clients that hold on to what they have: slow, silent, deaf. Each kind comes in hundreds."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator

from tests.support.service import Service
from tests.support.tissue import encode, instance, tissue

COUNT = 200
_DRIP_S = 0.5

_HALF = b"GET /health HTTP/1.1\r\nHost: x\r\nX-A: "
_BODY = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n{"
_ASKED = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


def _large_answer() -> bytes:
    """Return a request whose answer is 4 MB."""
    body = json.dumps({"instances": [instance(encode(tissue()), *[(0, 0)] * 1000)]}).encode()
    return b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def _dripping(piece: bytes, socks: list[socket.socket], stop: threading.Event) -> None:
    while not stop.wait(_DRIP_S):
        for sock in socks:
            with contextlib.suppress(OSError):
                sock.send(piece)


class Kind:
    """A kind of clients.

    Parameters
    ----------
    first:
        What each sends at once.
    drip:
        What it sends twice a second from then on.
    """

    def __init__(self, first: Callable[[], bytes], drip: bytes = b"", count: int = COUNT) -> None:
        self._first, self._drip, self._count = first, drip, count

    @contextlib.contextmanager
    def around(self, service: Service) -> Iterator[None]:
        """Let them come, and leave at the end of a ``with`` block; who was cut comes back at once."""
        stop, first, socks = threading.Event(), self._first(), list[socket.socket]()
        for _ in range(self._count):
            socks.append(self._connect(service, first))

        def come_back() -> None:
            while not stop.wait(_DRIP_S):
                for number, sock in enumerate(socks):
                    if _is_cut(sock):
                        sock.close()
                        socks[number] = self._connect(service, first)

        threads = [threading.Thread(target=come_back, daemon=True)]
        if self._drip:
            threads.append(threading.Thread(target=_dripping, args=(self._drip, socks, stop), daemon=True))
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join(30)
            for sock in socks:
                sock.close()

    @staticmethod
    def _connect(service: Service, first: bytes) -> socket.socket:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(30)
        sock.connect(("127.0.0.1", service.port))
        sock.sendall(first)
        sock.setblocking(False)
        return sock


KINDS = {
    "nobody": Kind(lambda: b"", count=0),
    "half heads": Kind(lambda: _HALF),
    "heads that drip": Kind(lambda: _HALF, b"a"),
    "bodies that drip": Kind(lambda: _BODY, b" "),
    "idle after a request": Kind(lambda: _ASKED),
    "half TLS handshakes, to http": Kind(lambda: b"\x16\x03\x01"),
    "do not read 4 MB": Kind(_large_answer),
    "silent, 1,050 of them": Kind(lambda: b"", count=1050),
}


def _is_cut(sock: socket.socket) -> bool:
    try:
        return not sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
