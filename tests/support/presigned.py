"""A stand-in for a bucket with presigned links: TLS on this machine, and whatever faults it is told."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from serving.webhooks.techcyte.trigger import PresignedUrl, Scan, ScanFile
from tests.support.certificate import self_signed
from tests.support.loopback import Handler, Loopback

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
        tls = self_signed(folder)
        self.certificate = tls[0]
        bucket = self

        class BucketHandler(Handler):
            def respond(self) -> None:
                bucket.respond(self)

        self._server = Loopback(BucketHandler, tls)

    @property
    def host(self) -> str:
        """Its host and port."""
        return self._server.origin.partition("//")[2]

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
        self._server.end()

    def respond(self, request: Handler) -> None:
        """Answer as told, else as a store does."""
        parts = urlsplit(request.path)
        headers = {name.lower(): text for name, text in request.headers.items()}
        self.requests.append((parts.path, headers))
        acts = self.acts.get(parts.path)
        act = acts.pop(0) if acts else Act()
        if parts.query != SIGNATURE:
            act = Act(403)
        elif parts.path not in self.files and act.status == 200:
            act = Act(404)
        if act.status != 200:
            return _send(request, act.status, b"<Error><Code>AccessDenied</Code></Error>", act, {})
        data = self.files[parts.path] if act.data is None else act.data
        tag = self.tags[parts.path]
        start = _start(headers, tag) if act.takes_range else 0
        if not start:
            return _send(request, 200, data, act, {"ETag": tag})
        span = f"bytes {start}-{len(data) - 1}/{len(data)}"
        return _send(request, 206, data[start:], act, {"ETag": tag, "Content-Range": span})


def _start(headers: Mapping[str, str], tag: str) -> int:
    span = headers.get("range", "")
    return int(span[6:-1]) if span and headers.get("if-range", tag) == tag else 0


def _send(request: Handler, status: int, body: bytes, act: Act, usual: Mapping[str, str]) -> None:
    headers: dict[str, str | None] = {"Content-Length": str(len(body)), **usual, **act.headers}
    request.send_response(status)
    for name, text in headers.items():
        if text is not None:
            request.send_header(name, text)
    request.end_headers()
    sent = body if act.cut is None else body[: act.cut]
    for first in range(0, len(sent), _PIECE):
        request.wfile.write(sent[first : first + _PIECE])
    act.halfway.set()
    act.gate.wait(60)
    if act.cut is not None or headers["Content-Length"] != str(len(body)):
        request.close_connection = True


def scan_of(*links: str, name: str = "scan-1") -> Scan:
    """Return a scan of files behind links."""
    urls = [PresignedUrl(link) for link in links]
    files = tuple(ScanFile(url, f"{number:04d}{url.ending}") for number, url in enumerate(urls, 1))
    return Scan("8946136", name, files)
