"""Files of a page: read once, answered from memory, known by name alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flask import Response, request

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file of a page.

    Attributes
    ----------
    etag:
        Changes when its content does.
    """

    content: bytes = field(repr=False)
    content_type: str
    etag: str


def static_files(folder: Path) -> Mapping[str, StaticFile]:
    """Return the files of a folder that browsers may have, by their path below it."""
    return {
        path.relative_to(folder).as_posix(): _read(path)
        for path in sorted(folder.rglob("*"))
        if path.suffix in _TYPES
    }


def file_answer(found: StaticFile, policy: str) -> Response:
    """Answer a file, or that the client has it, with a Content-Security-Policy; for the present request."""
    response = Response(found.content, content_type=found.content_type)
    response.headers["Content-Security-Policy"] = policy
    response.headers["Cache-Control"] = "no-cache"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    response.set_etag(found.etag)
    response.make_conditional(request)
    return response


def _read(path: Path) -> StaticFile:
    content = path.read_bytes()
    return StaticFile(content, _TYPES[path.suffix], hashlib.sha256(content).hexdigest()[:32])
