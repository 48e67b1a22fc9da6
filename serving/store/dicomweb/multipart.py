"""Multipart answers (RFC 2387), written while they are sent."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from flask import Response


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an answer.

    Attributes
    ----------
    kind:
        The Content-Type, with its parameters.
    location:
        The address of what it holds (PS3.18, 8.6.1.2.2); nothing is said where it is empty.
    size:
        Bytes of it; ``None`` where they are known only when they are read.
    body:
        Its bytes, in pieces.
    """

    kind: str
    location: str
    size: int | None
    body: Iterable[bytes]


def related(kind: str, parts: Iterable[Part], size: int | None = None) -> Response:
    """Return a multipart/related answer.

    Parameters
    ----------
    kind:
        Media type of the parts.
    size:
        Bytes of the parts with their heads, by ``sized``; the answer ends when the connection does otherwise.
    """
    boundary = secrets.token_hex(16)
    response = Response(_written(parts, boundary))
    response.headers["Content-Type"] = f'multipart/related; type="{kind}"; boundary={boundary}'
    if size is not None:
        response.content_length = size + len(_last(boundary))
    return response


def sized(parts: Iterable[Part]) -> int | None:
    """Return the bytes of parts with their heads; ``None`` where those of one are not known."""
    boundary, total = "0" * 32, 0
    for part in parts:
        if part.size is None:
            return None
        total += len(_head(part, boundary)) + part.size
    return total


def _written(parts: Iterable[Part], boundary: str) -> Iterator[bytes]:
    for part in parts:
        yield _head(part, boundary)
        yield from part.body
    yield _last(boundary)


def _head(part: Part, boundary: str) -> bytes:
    size = "" if part.size is None else f"Content-Length: {part.size}\r\n"
    location = f"Content-Location: {part.location}\r\n" if part.location else ""
    return f"\r\n--{boundary}\r\nContent-Type: {part.kind}\r\n{size}{location}\r\n".encode()


def _last(boundary: str) -> bytes:
    return f"\r\n--{boundary}--\r\n".encode()
