"""Bodies that are read while they come, and answers that are made while they are sent: real sockets."""

from __future__ import annotations

import hashlib
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from flask import Flask, Response, request

from serving.errors import ServiceError
from serving.front import client_limits as rules
from serving.front.application import Course, HttpApplication
from serving.front.body_stream import HIGH_BYTES
from serving.front.head import Head
from serving.front.pieces import PIECE_BYTES
from serving.http.access import secured
from serving.http.answers import answer_error, refusal
from tests.support.front import Front, read_all
from tests.support.service import wait_until

MEBIBYTE = 1 << 20
READ_SIZE = 1 << 16


class _ByPath:
    """Streams what is sent to ``/up``, gives turns to all else."""

    limit = 1000

    def course(self, head: Head) -> Course:
        return Course.STREAMED if head.path == "/up" else Course.BODILESS


def front(up: Callable[[], Response], *, down: Callable[[], Response] | None = None) -> Front:
    app = Flask("streaming", static_folder=None)
    app.add_url_rule("/up", "up", up, methods=["POST"])
    app.add_url_rule("/down", "down", down or up)
    app.register_error_handler(Exception, answer_error)
    app.after_request(secured)
    return Front(application=HttpApplication(app, _ByPath(), refusal))


def digest_of_all() -> Response:
    sum_, size = hashlib.sha256(), 0
    while piece := request.stream.read(READ_SIZE):
        assert len(piece) <= READ_SIZE
        sum_.update(piece)
        size += len(piece)
    return Response(json.dumps([sum_.hexdigest(), size]))


def post(*headers: str) -> bytes:
    return "\r\n".join(["POST /up HTTP/1.1", "Host: x", *headers, "", ""]).encode()


GET = b"GET /down HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
BODY = bytes(range(256)) * (40 * MEBIBYTE // 256)


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


def chunks_of(body: bytes) -> list[bytes]:
    found = []
    while True:
        size, _, body = body.partition(b"\r\n")
        found.append(body[: int(size, 16)])
        body = body[int(size, 16) + 2 :]
        if not found[-1]:
            return found[:-1]


def test_a_body_larger_than_any_limit_reaches_its_reader_whole_with_and_without_a_length() -> None:
    expected = [hashlib.sha256(BODY).hexdigest(), len(BODY)]
    with front(digest_of_all) as served:
        plain = served.ask(post(f"Content-Length: {len(BODY)}", "Connection: close"), BODY)
        assert json.loads(body_of(plain)) == expected
        halves = [BODY[: len(BODY) // 2], BODY[len(BODY) // 2 :]]
        sent = [b"%x\r\n%b\r\n" % (len(half), half) for half in halves]
        chunked = served.ask(post("Transfer-Encoding: chunked", "Connection: close"), *sent, b"0\r\n\r\n")
        assert json.loads(body_of(chunked)) == expected


def test_the_connection_goes_on_after_a_body_that_was_read_and_an_answer_of_many_pieces() -> None:
    def down() -> Response:
        return Response(iter([b"x" * PIECE_BYTES] * 3))

    with front(digest_of_all, down=down) as served:
        small = post("Content-Length: 3") + b"abc"
        answers = served.ask(small, b"GET /down HTTP/1.1\r\nHost: x\r\n\r\n", small, GET)
        assert answers.count(b"HTTP/1.1 200 OK") == 4
        assert answers.count(hashlib.sha256(b"abc").hexdigest().encode()) == 2
        assert answers.count(b"x" * PIECE_BYTES) == 6


def test_a_reader_that_does_not_read_keeps_the_client_from_sending_more_than_a_bound() -> None:
    go_on = threading.Event()

    def up() -> Response:
        assert go_on.wait(60)
        return digest_of_all()

    with front(up) as served, served.connect(post(f"Content-Length: {len(BODY)}")) as sock:
        sock.settimeout(0.5)
        sent = 0
        with suppress(TimeoutError):
            while sent < len(BODY):
                sent += sock.send(BODY[sent : sent + READ_SIZE])
        assert sent < HIGH_BYTES + 16 * MEBIBYTE  # the rest is in the kernels' buffers
        sock.settimeout(60)
        go_on.set()
        sock.sendall(BODY[sent:])
        assert hashlib.sha256(BODY).hexdigest().encode() in sock.recv(1 << 16)


@pytest.mark.parametrize("ends", ["close", "half_close", "bad_chunk", "too_slow"])
def test_who_reads_a_body_that_does_not_come_to_its_end_is_told_so(
    ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if ends == "too_slow":
        monkeypatch.setattr(rules, "BODY_PACE", (1000, 0.5))
    faults: list[ServiceError] = []
    begun = threading.Event()

    def up() -> Response:
        begun.set()
        try:
            return digest_of_all()
        except ServiceError as fault:
            faults.append(fault)
            raise

    with front(up) as served, served.connect(post("Transfer-Encoding: chunked")) as sock:
        sock.sendall(b"3\r\nabc\r\n")
        assert begun.wait(60)
        if ends == "close":
            sock.close()
        else:
            if ends == "half_close":
                sock.shutdown(1)
            elif ends == "bad_chunk":
                sock.sendall(b"zz\r\n")
            status = b"408" if ends == "too_slow" else b"400"
            assert read_all(sock).startswith(b"HTTP/1.1 " + status)
        wait_until(lambda: bool(faults), "the fault")


def test_who_answers_without_reading_the_body_is_heard_all_the_same() -> None:
    with front(lambda: Response("no", status=403)) as served:
        answer = served.ask(post(f"Content-Length: {len(BODY)}"), BODY[: 8 * MEBIBYTE])
        assert answer.startswith(b"HTTP/1.1 403")
        assert body_of(answer) == b"no"


def test_an_answer_of_unknown_length_comes_in_chunks_and_to_an_old_client_until_the_end() -> None:
    pieces = [bytes([i]) * (PIECE_BYTES // 3) for i in range(20)]
    with front(digest_of_all, down=lambda: Response(iter(pieces))) as served:
        answer = served.ask(GET)
        assert b"Transfer-Encoding: chunked" in answer[:1000]
        assert b"".join(chunks_of(body_of(answer))) == b"".join(pieces)
        old = served.ask(b"GET /down HTTP/1.0\r\n\r\n")
        assert b"chunked" not in old[:1000]
        assert body_of(old) == b"".join(pieces)


def test_an_answer_whose_length_is_known_is_sent_as_it_is() -> None:
    def down() -> Response:
        return Response(iter([b"x" * PIECE_BYTES] * 5), headers={"Content-Length": str(5 * PIECE_BYTES)})

    with front(digest_of_all, down=down) as served:
        answer = served.ask(GET)
        assert b"chunked" not in answer[:1000]
        assert body_of(answer) == b"x" * 5 * PIECE_BYTES


def test_a_short_answer_of_a_generator_has_a_length() -> None:
    with front(digest_of_all, down=lambda: Response(iter([b"ab", b"cd"]))) as served:
        answer = served.ask(GET)
        assert b"Content-Length: 4\r\n" in answer
        assert body_of(answer) == b"abcd"


def test_an_endless_answer_is_made_at_the_clients_pace_and_given_up_when_it_goes() -> None:
    made, closed = itertools.count(), threading.Event()

    def endless() -> Iterator[bytes]:
        try:
            while True:
                next(made)
                yield b"x" * PIECE_BYTES
        finally:
            closed.set()

    with front(digest_of_all, down=lambda: Response(endless())) as served:
        with served.connect(GET, receive_buffer=1 << 16) as sock:
            sock.recv(1 << 16)
            # Another client is answered meanwhile: who reads slowly holds no turn and no thread.
            for _ in range(10):
                answer = served.ask(post("Content-Length: 1", "Connection: close"), b"a")
                assert answer.startswith(b"HTTP/1.1 200")
        assert closed.wait(60)
        assert next(made) < 64


def test_an_answer_that_cannot_be_finished_does_not_look_finished() -> None:
    def broken() -> Iterator[bytes]:
        yield b"x" * PIECE_BYTES
        yield b"x" * PIECE_BYTES
        raise OSError("a disk that fails")

    with (
        front(digest_of_all, down=lambda: Response(broken())) as served,
        pytest.raises((ConnectionError, ValueError)),
    ):
        chunks_of(body_of(served.ask(GET)))


def test_a_drain_waits_for_an_answer_that_is_being_made() -> None:
    go_on = threading.Event()

    def halves() -> Iterator[bytes]:
        yield b"x" * PIECE_BYTES
        assert go_on.wait(60)
        yield b"y"

    with front(digest_of_all, down=lambda: Response(halves())) as served, served.connect(GET) as sock:
        got = bytearray(sock.recv(1 << 16))
        served.end()
        go_on.set()
        got += read_all(sock)
        assert chunks_of(body_of(bytes(got)))[-1] == b"y"
