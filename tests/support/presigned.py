"""A stand-in for a bucket with presigned links: TLS on this machine, and whatever faults it is told."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from serving.webhooks.techcyte.trigger import PresignedUrl, Scan, ScanFile
from tests.support.certificate import self_signed

SIGNATURE = "X-Amz-Signature=planted%2Fsignature"
_PIECE = 1 << 14


def _open_gate() -> threading.Event:
    gate = threading.Event()
    gate.set()
    return gate


@dataclass(slots=True)
class Act:
    """How one request for a file is answered.

    Attributes
    ----------
    cut:
        The connection ends after so many bytes of the body.
    data:
        Other bytes than the file's.
    headers:
        Beside the usual ones, or instead of them; ``None`` leaves one out.
    takes_range:
        Whether a range that is asked for is heeded.
    gate:
        What the connection waits for before it ends.
    halfway:
        Set once all that is sent of the body has been.
    """

    status: int = 200
    cut: int | None = None
    data: bytes | None = None
    headers: Mapping[str, str | None] = field(default_factory=dict)
    takes_range: bool = True
    gate: threading.Event = field(default_factory=_open_gate)
    halfway: threading.Event = field(default_factory=threading.Event)


class Bucket:
    """Files by path, served from its making until the end of a ``with`` block.

    Attributes
    ----------
    acts:
        By path, how the next requests are answered; after them, as should be.
    requests:
        (path, headers in lower case) of each request, in order.
    certificate:
        What a client trusts it by.
    """

    def __init__(self, folder: Path) -> None:
        self.files: dict[str, bytes] = {}
        self.tags: dict[str, str] = {}
        self.acts: dict[str, list[Act]] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.certificate, key = self_signed(folder)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(self.certificate, key)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        # The handshake is the handler's: a client that never begins one keeps no other waiting.
        self._server.socket = tls.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients may hang up
        serve = partial(self._server.serve_forever, poll_interval=0.02)
        threading.Thread(target=serve, daemon=True).start()

    @property
    def host(self) -> str:
        """Its host and port."""
        return f"127.0.0.1:{self._server.server_port}"

    def put(self, path: str, data: bytes, *acts: Act, tag: str = '"v1"') -> str:
        """Store a file and return a link to it."""
        self.files[path], self.tags[path], self.acts[path] = data, tag, list(acts)
        return self.link(path)

    def link(self, path: str) -> str:
        """Return a link to a path, be there a file or not."""
        return f"https://{self.host}{path}?{SIGNATURE}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def scan_of(*links: str, name: str = "scan-1") -> Scan:
    """Return a scan of files behind links."""
    urls = [PresignedUrl(link) for link in links]
    files = tuple(ScanFile(url, f"{number:04d}{url.ending}") for number, url in enumerate(urls, 1))
    return Scan("8946136", name, files)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, bucket: Bucket, *args: object) -> None:
        self._bucket = bucket
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """Answer as told, else as a store does."""
        parts = urlsplit(self.path)
        self._bucket.requests.append(
            (parts.path, {name.lower(): text for name, text in self.headers.items()})
        )
        acts = self._bucket.acts.get(parts.path)
        act = acts.pop(0) if acts else Act()
        if parts.query != SIGNATURE:
            act = Act(403)
        elif parts.path not in self._bucket.files and act.status == 200:
            act = Act(404)
        if act.status != 200:
            return self._send(act.status, act.data or b"<Error><Code>AccessDenied</Code></Error>", act, {})
        data = self._bucket.files[parts.path] if act.data is None else act.data
        tag = self._bucket.tags[parts.path]
        start = self._start(tag) if act.takes_range else 0
        if not start:
            return self._send(200, data, act, {"ETag": tag})
        span = f"bytes {start}-{len(data) - 1}/{len(data)}"
        return self._send(206, data[start:], act, {"ETag": tag, "Content-Range": span})

    def _start(self, tag: str) -> int:
        span = self.headers.get("Range", "")
        return int(span[6:-1]) if span and self.headers.get("If-Range", tag) == tag else 0

    def _send(self, status: int, body: bytes, act: Act, usual: Mapping[str, str]) -> None:
        headers: dict[str, str | None] = {"Content-Length": str(len(body)), **usual, **act.headers}
        self.send_response(status)
        for name, text in headers.items():
            if text is not None:
                self.send_header(name, text)
        self.end_headers()
        sent = body if act.cut is None else body[: act.cut]
        for first in range(0, len(sent), _PIECE):
            self.wfile.write(sent[first : first + _PIECE])
        act.halfway.set()
        act.gate.wait(60)
        if act.cut is not None or headers["Content-Length"] != str(len(body)):
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""
