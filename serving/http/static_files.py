"""Files of a page: read once, answered from memory, known by name alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flask import Response, request

from serving.errors import TABLE, Code, ServiceError

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


class PageFiles:
    """The views of a page and of its files.

    Parameters
    ----------
    folder:
        Its files.
    page:
        The name of the page among them.
    policy:
        Content-Security-Policy of each answer.
    """

    def __init__(self, folder: Path, page: str, policy: str) -> None:
        self._files = static_files(folder)
        self._page, self._policy = page, policy

    def page(self) -> Response:
        """Answer the page."""
        return file_answer(self._files[self._page], self._policy)

    def static(self, name: str) -> Response:
        """Answer one of its files.

        Raises
        ------
        ServiceError
            NOT_FOUND_ERROR
        """
        found = self._files.get(name)
        if found is None:
            raise ServiceError(Code.NOT_FOUND_ERROR, TABLE[Code.NOT_FOUND_ERROR].meaning)
        return file_answer(found, self._policy)


def _read(path: Path) -> StaticFile:
    content = path.read_bytes()
    return StaticFile(content, _TYPES[path.suffix], hashlib.sha256(content).hexdigest()[:32])
