"""Reading a request from a connection's bytes, however they are cut."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from serving.errors import ServiceError
from serving.front.head import RequestReader

BODIES = (b"", b"x", b"\r\n\r\n", b"\r\n\r\nGET / HTTP/1.1\r\n\r\n", b"\n\r\n\r" * 20, bytes(range(256)) * 3)
NEXT = b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n"


def plain(body: bytes) -> bytes:
    return b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def chunked(body: bytes) -> bytes:
    chunks = [body[at : at + 7] for at in range(0, len(body), 7)]
    text = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + text + b"0\r\n\r\n"


def read(pieces: list[bytes]) -> tuple[str, bytes, bytes]:
    """Return the path, the body, and all that came after the request."""
    reader, body = RequestReader(), b""
    for number, piece in enumerate(pieces):
        reader.feed(piece)
        body += b"".join(reader.body())
        if reader.is_complete:
            assert reader.head is not None
            return reader.head.path, body, reader.tail + b"".join(pieces[number + 1 :])
    raise AssertionError("it is not complete")


def cut(data: bytes, chance: random.Random) -> list[bytes]:
    places = sorted(chance.sample(range(1, len(data)), min(chance.randrange(6), len(data) - 1)))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("write", [plain, chunked])
def test_a_request_is_the_same_in_however_many_pieces_it_comes(
    write: Callable[[bytes], bytes], body: bytes
) -> None:
    data = write(body) + NEXT
    for at in range(1, len(data)):  # each place in two pieces, and some in more
        assert read([data[:at], data[at:]]) == ("/predict", body, NEXT)
    chance = random.Random(len(data))
    for _ in range(200):
        assert read(cut(data, chance)) == ("/predict", body, NEXT)


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length : 1\r\n\r\n",
        b"POST / HTTP/1.1\nHost: x\n\n",
        b"POST / HTTP/1.1\r\nHost: x\r\n continued\r\n\r\n",
        b"POST / HTTP/1.1\r\nA: b\0c\r\n\r\n",
    ],
)
def test_what_is_refused_is_refused_in_however_many_pieces_it_comes(head: bytes) -> None:
    data = head + b"\r\n\r\nabc\r\n\r\n"

    def fault(pieces: list[bytes]) -> str:
        with pytest.raises(ServiceError) as refused:
            read(pieces)
        return refused.value.description

    for at in range(1, len(data)):
        assert fault([data[:at], data[at:]]) == fault([data])
