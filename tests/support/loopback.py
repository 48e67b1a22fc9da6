"""What our stand-ins for servers have in common: HTTP/1.1 on a free port of 127.0.0.1, in threads."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    """Keeps connections open and says nothing on the terminal."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are written apart

    def respond(self) -> None:
        """Answer a request; ``command`` says of which method."""
        raise NotImplementedError

    def do_GET(self) -> None:
        """Respond."""
        self.respond()

    def do_HEAD(self) -> None:
        """Respond."""
        self.respond()

    def do_POST(self) -> None:
        """Respond."""
        self.respond()

    def do_PUT(self) -> None:
        """Respond."""
        self.respond()

    def do_DELETE(self) -> None:
        """Respond."""
        self.respond()

    def answer(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        """Send an answer; a Content-Length among the headers that is not the body's ends the connection."""
        self.send_response(status)
        given = {name.lower(): value for name, value in headers}
        for name, value in ({"content-length": str(len(body))} | given).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        if given.get("content-length", str(len(body))) != str(len(body)):
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Do nothing."""


class Loopback:
    """A server that runs from its making until ``end``; clients may hang up on it.

    Parameters
    ----------
    tls:
        A certificate and its key; without them it speaks plain HTTP.
    port:
        0 takes a free one.
    """

    def __init__(self, handler: type[Handler], tls: tuple[Path, Path] | None = None, port: int = 0) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._scheme = "http"
        if tls is not None:
            self._scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            # The handshake is the connection's own thread's: a slow client holds up no other.
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        # `end` waits for the next look at its flag: half a second by default, for each of hundreds of tests.
        serve = partial(self._server.serve_forever, poll_interval=0.02)
        threading.Thread(target=serve, daemon=True).start()

    @property
    def origin(self) -> str:
        """Its address, without a slash."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}"

    def end(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
