"""The HTTP front in a thread of this process, before an application of a few lines or the service's own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from flask import Flask, Response, request
from pydantic import SecretStr

from serving.config.settings import Settings, load_settings
from serving.front.application import HttpApplication
from serving.front.front import HttpFront
from serving.front.wsgi_bridge import RECEIVED, Received
from serving.http.access import ApiKeys, secured
from serving.http.answers import answer_error, refusal
from serving.http.gate import Gate

KEY = "key-of-the-service"
Work = Callable[[bytearray, Received], bytes]


def _echo(body: bytearray, _: Received) -> bytes:
    return bytes(body)


class Front:
    """A front on a free port of 127.0.0.1.

    Parameters
    ----------
    work:
        Makes an answer of a body (by default the body), for ``POST /predict``; ``GET /health`` is always
        answered.
    settings:
        By variable name.
    key:
        Whether predictions want ``KEY``.
    tls:
        Makes it speak https.
    application:
        What answers instead of those few lines.
    configured:
        Settings that have been read already.
    """

    def __init__(
        self,
        work: Work = lambda body, _: bytes(body),
        *,
        key: bool = False,
        tls: ssl.SSLContext | None = None,
        application: HttpApplication | None = None,
        configured: Settings | None = None,
        **settings: object,
    ) -> None:
        self._tls = tls
        self._settings = configured or load_settings({"PATHSERVE_WORKERS": 1} | settings)
        self._application = application or _application(work, key, self._settings.requests.max_bytes)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.port: int = self._listener.getsockname()[1]
        self._begun = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._begun.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def end(self) -> None:
        """Begin the drain."""
        with contextlib.suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(self._ending.set)

    def connect(self, *sent: bytes, receive_buffer: int = 0) -> socket.socket:
        """Return a connection on which something has been sent."""
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(20)
        try:
            sock.connect(("127.0.0.1", self.port))
        except OSError:
            sock.close()
            raise
        for piece in sent:
            sock.sendall(piece)
        return sock

    def ask(self, *sent: bytes) -> bytes:
        """Send, and return all that comes until the connection is closed."""
        with self.connect(*sent) as sock:
            return read_all(sock)

    async def _serve(self) -> None:
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        front = HttpFront(self._application, self._settings, self._tls)
        front.listen(self._listener)
        self._begun.set()
        while not self._ending.is_set():
            front.look()
            await asyncio.sleep(0.02)
        await front.drain()


def read_all(sock: socket.socket) -> bytes:
    """Return what comes until the other end closes."""
    got = bytearray()
    while piece := sock.recv(1 << 16):
        got += piece
    return bytes(got)


def post(body: bytes, *headers: str, path: str = "/predict") -> bytes:
    """Return a request; the connection is closed after it unless a header says otherwise."""
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]
    if not any(line.startswith("Connection") for line in headers):
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode() + body


def _application(work: Work, key: bool, limit: int) -> HttpApplication:
    app = Flask("front", static_folder=None)

    def predict() -> Response:
        received: Received = request.environ[RECEIVED]
        return Response(work(received.take_body(), received))

    app.add_url_rule("/predict", "predict", predict, methods=["POST"])
    app.add_url_rule("/health", "health", lambda: "well")
    app.register_error_handler(Exception, answer_error)
    app.after_request(secured)
    keys = ApiKeys([SecretStr(KEY)] if key else None)
    return HttpApplication(app, Gate(app.url_map, ["predict"], keys, limit), refusal)
