"""The last bytes of a request, which make it one."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from dicom_io.errors import ImageError
from dicom_io.web.urls import parse_url
from serving.webhooks.transport import Call, Peer, StatusError, Transport, Unreached, Waits
from tests.support.loopback import Handler, Loopback

SIZES = [1, 2, 1000, (1 << 20) + 1, 3 << 20]


class Counting(Loopback):
    """Keeps the bodies that have come as a whole."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.status = 200
        server = self

        class Keeping(Handler):
            def respond(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                if len(body) == length:
                    server.bodies.append(body)
                    self.answer(server.status, [("Retry-After", "7")], b"taken")

        super().__init__(Keeping)


@pytest.fixture
def server() -> Iterator[Counting]:
    server = Counting()
    yield server
    server.end()


def transport(server: Loopback) -> Transport:
    peer = Peer(parse_url(server.origin), "The other side", "said no ({status}).", frozenset({503}), 2)
    return Transport(peer, 10.0)


def waits() -> Waits:
    return Waits(time.monotonic() + 30)


@pytest.mark.parametrize("size", SIZES)
def test_a_body_in_pieces_is_the_body(server: Counting, size: int) -> None:
    body, asked = bytes(range(256)) * (size // 256) + b"x" * (size % 256), []
    call = Call("POST", ("a",), body=body, repeatable=False, before_last=lambda: asked.append(1))
    assert transport(server).send(call, waits()).body == b"taken"
    assert (server.bodies, asked) == ([body], [1])


@pytest.mark.parametrize("size", SIZES)
def test_what_is_raised_before_the_last_byte_leaves_the_other_side_without_a_request(
    server: Counting, size: int
) -> None:
    def refuse() -> None:
        raise LookupError

    call = Call("POST", ("a",), body=b"x" * size, repeatable=False, before_last=refuse)
    with pytest.raises(LookupError):
        transport(server).send(call, waits())
    call = Call("POST", ("a",), body=b"next", repeatable=False, before_last=lambda: None)
    transport(server).send(call, waits())
    assert server.bodies == [b"next"]


@pytest.mark.parametrize("status", [401, 429, 500])
def test_a_status_is_told_with_the_pause_that_is_asked_for(server: Counting, status: int) -> None:
    server.status = status
    with pytest.raises(StatusError) as caught:
        transport(server).send(Call("POST", ("a",), body=b"x", repeatable=False), waits())
    assert (caught.value.status, caught.value.retry_after_s) == (status, 7.0)
    assert "The other side at 127.0.0.1" in caught.value.description


def test_where_nothing_listens_nothing_was_sent(server: Counting) -> None:
    sender, asked = transport(server), []
    server.end()
    with pytest.raises(Unreached):
        sender.send(Call("POST", ("a",), body=b"x", before_last=lambda: asked.append(1)), waits())
    assert asked == []


def test_a_time_that_is_over_is_a_fault_in_words(server: Counting) -> None:
    with pytest.raises(ImageError, match="did not answer in time"):
        transport(server).send(Call("GET", ("a",)), Waits(time.monotonic() - 1))
