"""A server on loopback that answers with whatever bytes, as slowly or as briefly as it is told."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

Answer = Callable[[socket.socket, bytes], None]


def says(data: bytes) -> Answer:
    """Answer every request with these bytes, and close."""
    return lambda sock, _: sock.sendall(data)


def ok(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Return a whole answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class RawServer:
    """Gives each connection's first request to ``answer``, then closes; use it as a context manager.

    Parameters
    ----------
    reads:
        Whether it answers only what was asked, or as soon as a client has connected.

    Attributes
    ----------
    requests:
        The heads of all requests, in order.
    gone:
        Set once a client has hung up on an answer that was being sent.
    """

    def __init__(self, answer: Answer, *, reads: bool = True) -> None:
        self.answer, self._reads = answer, reads
        self.requests: list[bytes] = []
        self.gone = threading.Event()
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def drip(self, head: bytes, piece: bytes, pause_s: float = 0.1) -> Answer:
        """Return an answer that begins and then comes piece by piece without end."""

        def answer(sock: socket.socket, _: bytes) -> None:
            sock.sendall(head)
            while not self._ended.wait(pause_s):
                sock.sendall(piece)

        return answer

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        head = b""
        try:
            with sock:
                while self._reads and b"\r\n\r\n" not in head:
                    if not (data := sock.recv(65536)):
                        return
                    head += data
                self.requests.append(head)
                self.answer(sock, head)
        except OSError:
            self.gone.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        # Not closing alone: the thread that accepts would keep the port alive until a client comes.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
