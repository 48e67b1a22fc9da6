"""A stand-in for the Hugging Face hub on loopback, as far as downloading a repository needs it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote

from tests.support.loopback import Handler, Loopback

REPOSITORY = "google/path-foundation"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_good"


class Hub:
    """The hub; use it as a context manager.

    Attributes
    ----------
    gated:
        Whether files need the token of an account that has accepted the terms.
    broken:
        Names of files whose download breaks off.
    """

    def __init__(self, folder: Path) -> None:
        self.files = {
            p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
        }
        self.gated = False
        self.broken: set[str] = set()
        self.requests: list[tuple[str, str]] = []
        hub = self

        class HubHandler(Handler):
            def respond(self) -> None:
                path = unquote(self.path.partition("?")[0])
                hub.requests.append((self.command, path))
                status, headers, body = hub.answer(path, self.headers.get("Authorization"))
                whole = [*headers.items(), ("Content-Length", str(len(body)))]
                if any(path.endswith(f"/{name}") for name in hub.broken):
                    body = body[: len(body) // 2]
                self.answer(status, whole, body)

        self._server = Loopback(HubHandler)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.end()

    @property
    def url(self) -> str:
        """What HF_ENDPOINT is to be set to."""
        return self._server.origin

    def downloads(self) -> int:
        """Number of files that were downloaded."""
        return sum(method == "GET" and "/resolve/" in path for method, path in self.requests)

    def answer(self, path: str, token: str | None) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body."""
        api = f"/api/models/{REPOSITORY}"
        if path in (api, f"{api}/revision/main", f"{api}/revision/{COMMIT}"):
            siblings = [{"rfilename": name} for name in self.files]
            document = {"id": REPOSITORY, "sha": COMMIT, "private": False, "siblings": siblings, "tags": []}
            return 200, {"Content-Type": "application/json"}, json.dumps(document).encode()
        if path.startswith(f"{api}/tree/"):
            tree = [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for name, data in self.files.items()
            ]
            return 200, {"Content-Type": "application/json"}, json.dumps(tree).encode()
        if path.startswith(f"{api}/revision/"):
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        prefix = f"/{REPOSITORY}/resolve/"
        if path.startswith(prefix):
            if self.gated and token != f"Bearer {TOKEN}":
                return 403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "gated"}, b"{}"
            name = path[len(prefix) :].partition("/")[2]
            if name in self.files:
                data = self.files[name]
                etag = hashlib.sha1(data).hexdigest()
                return 200, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}, data
        return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
