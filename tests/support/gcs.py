"""Cloud Storage on loopback: Google's emulator, behind a small proxy that checks tokens and can do harm."""

from __future__ import annotations

import http.client
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import requests

from tests.support.loopback import Handler, Loopback
from tests.support.service import wait_until

BUCKET = "slides"
PRIVATE = "hospital"


class GcsEmulator:
    """The emulator and its proxy; use it as a context manager.

    Attributes
    ----------
    requests:
        Method and path of every request, in order.
    harm:
        Changes the body of an answer; ``None`` lets it through.
    """

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._process = subprocess.Popen(
            [
                str(Path(sys.executable).with_name("gcp-storage-emulator")),
                *("start", "--host", "127.0.0.1", "--port", str(self._port)),
                *("--in-memory", "--default-bucket", BUCKET),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.requests: list[tuple[str, str]] = []
        self.tokens: set[str | None] = set()
        self._uploads = threading.Lock()
        self.harm: Callable[[str, bytes], bytes] | None = None
        emulator = self

        class ProxyHandler(Handler):
            def respond(self) -> None:
                emulator.requests.append((self.command, self.path))
                token = self.headers.get("Authorization")
                emulator.tokens.add(token)
                status = _status(self.path, token)
                if status != 200:
                    self.answer(
                        status, [("Content-Type", "application/json")], b'{"error": {"message": "no"}}'
                    )
                    return
                sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with emulator._uploads:
                    if emulator._is_taken(self.path, sent):
                        self.answer(412, [], b'{"error": {"code": 412, "message": "taken"}}')
                        return
                    upstream = http.client.HTTPConnection("127.0.0.1", emulator._port, timeout=30)
                    passed = {k: v for k in ("Content-Type", "Range") if (v := self.headers.get(k))}
                    upstream.request(self.command, self.path, sent or None, passed)
                    answer = upstream.getresponse()
                    body = answer.read()
                headers = [
                    (k, v)
                    for k, v in answer.getheaders()
                    if k.lower() not in ("content-length", "transfer-encoding", "connection")
                ]
                # Downloads go where the object's mediaLink points: through here, too.
                body = body.replace(emulator._direct.encode(), emulator.url.encode())
                # The emulator writes names there as they are; Cloud Storage escapes them.
                body = re.sub(rb'(?<="mediaLink": ")[^"?]+', lambda link: link[0].replace(b"%", b"%25"), body)
                if emulator.harm is not None and answer.status == 200:
                    body = emulator.harm(self.path, body)
                self.answer(answer.status, headers, body)

        self._proxy = Loopback(ProxyHandler)

    def __enter__(self) -> Self:
        wait_until(self._answers, "the storage emulator", 60)
        requests.post(
            f"{self._direct}/storage/v1/b?project=p", json={"name": PRIVATE}, timeout=10
        ).raise_for_status()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._proxy.end()
        self._process.terminate()
        self._process.wait(30)

    @property
    def url(self) -> str:
        """What STORAGE_EMULATOR_HOST is to be set to."""
        return self._proxy.origin

    @property
    def _direct(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def put(self, name: str, data: bytes, bucket: str = BUCKET) -> str:
        """Store an object and return its gs:// address."""
        url = f"{self._direct}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={quote(name, safe='')}"
        requests.post(
            url, data=data, headers={"Content-Type": "application/octet-stream"}, timeout=30
        ).raise_for_status()
        return f"gs://{bucket}/{name}"

    def downloads(self) -> int:
        """Number of downloads of an object's bytes."""
        return sum("alt=media" in path for _, path in self.requests)

    def _is_taken(self, path: str, sent: bytes) -> bool:
        """Return whether an upload is to be refused, since there is such an object: the emulator does not."""
        if "ifGenerationMatch=0" not in path:
            return False
        named = re.search(rb'"name": ?"([^"]+)"', sent)
        assert named, "an upload of several parts names its object in the first"
        name = quote(named.group(1).decode(), safe="")
        bucket = path.split("/b/")[1].split("/", maxsplit=1)[0]
        found = requests.get(f"{self._direct}/storage/v1/b/{bucket}/o/{name}", timeout=30)
        return found.status_code == 200

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self._direct}/storage/v1/b?project=p", timeout=5).ok
        except requests.ConnectionError:
            return False


def _status(path: str, token: str | None) -> int:
    if token == "Bearer denied-token":
        return 403
    if token is not None and token != "Bearer good-token":
        return 401
    return 401 if token is None and f"/b/{PRIVATE}/" in path else 200
