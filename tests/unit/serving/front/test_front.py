"""The front among clients that do as they like: real sockets, an application of a few lines."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

from serving.front import client_limits as rules
from serving.front.wsgi_bridge import Received
from tests.support.certificate import self_signed
from tests.support.front import KEY, Front, post, read_all
from tests.support.service import wait_until

_POST = b"POST /predict HTTP/1.1\r\nHost: x\r\n"
_NEXT = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def status(answer: bytes) -> int:
    return int(answer[9:12]) if answer else 0


def code(answer: bytes) -> str:
    """Return the code of an error, which has the headers of every answer and the API's JSON."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"X-Content-Type-Options: nosniff" in head
    assert b"Content-Security-Policy" in head
    error = json.loads(body)["error"]
    assert error["description"]
    return str(error["code"])


def gzipped(data: bytes) -> bytes:
    """Return data as gzip without the time, which would be in the names of tests."""
    return gzip.compress(data, mtime=0)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for clients for a second where a service waits for many."""
    for name in ("SILENCE_S", "HEAD_S", "READING_PACE_S", "LINGER_PACE_S"):
        monkeypatch.setattr(rules, name, 1.0)
    monkeypatch.setattr(rules, "BODY_PACE", (1000, 1.0))


@pytest.fixture(scope="module")
def echo() -> Iterator[Front]:
    with Front(PATHSERVE_MAX_REQUEST_BYTES=100_000) as front:
        yield front


def test_a_body_comes_back_whole_in_one_piece_or_many(echo: Front) -> None:
    body = bytes(range(256)) * 300
    whole = post(body)
    assert echo.ask(whole).endswith(b"\r\n\r\n" + body)
    assert echo.ask(*(whole[i : i + 7001] for i in range(0, len(whole), 7001))).endswith(body)
    chunked = b"POST /predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    assert echo.ask(chunked, b"5\r\nhello\r\n", b"7;a=b\r\n, world\r\n0\r\n", b"T: x\r\n\r\n").endswith(
        b"hello, world"
    )


def test_requests_in_one_packet_are_answered_in_order_on_one_connection(echo: Front) -> None:
    bodies = [f"number {i}".encode() for i in range(300)]
    sent = b"".join(post(body, "Connection: keep-alive") for body in bodies) + post(b"last")
    answers = echo.ask(sent)
    places = [answers.index(body) for body in [*bodies, b"last"]]
    assert places == sorted(places)
    assert answers.count(b"HTTP/1.1 200 OK") == 301


@pytest.mark.parametrize(
    ("sent", "expected", "named"),
    [
        (b"GET /health HTTP/1.1\r\nA: " + b"a" * 9000 + b"\r\n\r\n", 431, "HEADERS_TOO_LARGE_ERROR"),
        (b"GET /health HTTP/1.1\r\n" + b"A: b\r\n" * 120 + b"\r\n", 431, "HEADERS_TOO_LARGE_ERROR"),
        (b"GET /health HTTP/1.1\r\n" + b"A: " + b"b" * 70_000, 431, "HEADERS_TOO_LARGE_ERROR"),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", 414, "URI_TOO_LONG_ERROR"),
        (b"GET /health HTTP/2.0\r\n\r\n", 400, "INVALID_REQUEST_FIELD_ERROR"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "INVALID_REQUEST_FIELD_ERROR"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "INVALID_REQUEST_FIELD_ERROR"),
        (b"secret-token\r\n\r\n", 400, "INVALID_REQUEST_FIELD_ERROR"),
        (b"GET secret-token HTTP/1.1\r\n\r\n", 400, "INVALID_REQUEST_FIELD_ERROR"),
        (_POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", 400, "INVALID_REQUEST_FIELD_ERROR"),
        (post(b"x", "Content-Encoding: br"), 415, "CONTENT_ENCODING_ERROR"),
        (post(b"x", "Content-Encoding: gzip, gzip"), 415, "CONTENT_ENCODING_ERROR"),
        (post(b"x", "Content-Encoding: gzip"), 400, "INVALID_REQUEST_FIELD_ERROR"),
        (post(gzipped(b"x" * 99)[:-5], "Content-Encoding: gzip"), 400, "INVALID_REQUEST_FIELD_ERROR"),
        (post(gzipped(b"x" * 200_000), "Content-Encoding: gzip"), 413, "REQUEST_TOO_LARGE_ERROR"),
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused_in_json_and_not_quoted(
    echo: Front, sent: bytes, expected: int, named: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = echo.ask(sent)
    assert (status(answer), code(answer)) == (expected, named)
    assert b"secret-token" not in answer
    assert "secret-token" not in caplog.text


@pytest.mark.parametrize(
    "sent",
    [
        _POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        _POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        _POST + b"Content-Length: 2, 2\r\n\r\n{}",
        _POST + b"Content-Length: +2\r\n\r\n{}",
        _POST + b"Content-Length: 2_0\r\n\r\n{}",
        _POST + b"Content-Length:\x0b2\r\n\r\n{}",
        _POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        _POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        _POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        _POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        _POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        _POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        _POST + b"Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
        _POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}XX0\r\n\r\n",
        _POST + b"Transfer-Encoding: chunked\r\n\r\n2;a\n{}\r\n0\r\n\r\n",
        _POST.replace(b"/1.1", b"/1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /health HTTP/1.1\r\nA: a\r\n Content-Length: 5\r\n\r\n",
        b"GET /health HTTP/1.1\nHost: x\n\n",
        b"GET /health HTTP/1.1\r\nA: a\0b\r\n\r\n",
        b"GET /health HTTP/1.1\r\nA: a\rb\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    ],
)
def test_a_request_whose_length_is_in_doubt_is_refused_and_nothing_after_it_is_read(
    echo: Front, sent: bytes
) -> None:
    answer = echo.ask(sent + _NEXT)
    assert status(answer) == 400
    assert answer.count(b"Content-Length: ") == 1


def test_gzip_is_unfolded(echo: Front) -> None:
    body = json.dumps(list(range(9999))).encode()
    parts = gzip.compress(body[:100]) + gzip.compress(body[100:])
    assert echo.ask(post(parts, "Content-Encoding: gzip")).endswith(body)


def test_what_proxies_say_of_the_scheme_is_not_judged(echo: Front) -> None:
    said = (
        "X-Forwarded-Proto: https",
        "X-Forwarded-Ssl: off",
        "X-Forwarded-Protocol: ssl",
        "X_Forwarded_Proto: a",
    )
    assert status(echo.ask(post(b"x", *said))) == 200


def test_a_body_over_the_limit_is_answered_before_it_is_sent_and_then_let_run_out(echo: Front) -> None:
    size = 30_000_000
    with echo.connect(post(b"")[:30] + b"\r\nContent-Length: %d\r\n\r\n" % size) as sock:
        answer = sock.recv(4096)
        assert (status(answer), code(answer)) == (413, "REQUEST_TOO_LARGE_ERROR")
    with echo.connect(b"POST /predict HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size) as sock:
        for _ in range(size // 100_000):
            sock.sendall(b" " * 100_000)  # a client that reads when all is sent
        assert status(read_all(sock)) == 413


def test_a_client_that_asks_whether_to_send_its_body_is_told(echo: Front) -> None:
    asking = "Expect: 100-continue"
    with echo.connect(post(b"hello", asking)[:-5]) as sock:
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"hello")
        assert read_all(sock).endswith(b"hello")
    head = b"POST /predict HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n"
    with echo.connect(head) as sock:
        assert status(sock.recv(4096)) == 413


def test_a_wrong_key_is_refused_before_the_body_is_sent() -> None:
    with Front(key=True) as front:
        head = b"POST /predict HTTP/1.1\r\nAuthorization: Bearer %b\r\nContent-Length: 9\r\n\r\n"
        with front.connect(head % b"of another") as sock:
            assert status(sock.recv(4096)) == 401
        with front.connect(head % KEY.encode(), b"all of it") as sock:
            assert status(sock.recv(4096)) == 200


def test_a_slow_reader_gets_all_and_one_that_does_not_read_is_cut(impatient: None) -> None:
    answer = b"x" * 8_000_000
    with Front(lambda *_: answer) as front:
        deaf = front.connect(post(b""), receive_buffer=4096)
        with front.connect(post(b""), receive_buffer=65536) as slow:
            began, got = time.monotonic(), 0
            while piece := slow.recv(65536):
                got += len(piece)
                time.sleep(max(0.0, got / 2_500_000 - (time.monotonic() - began)))
            assert got > len(answer)
            assert time.monotonic() - began > 2 * rules.READING_PACE_S
        with pytest.raises(ConnectionError):
            read_all(deaf)
        deaf.close()


def test_heads_and_bodies_that_drip_are_cut_and_those_that_are_just_slow_are_not(impatient: None) -> None:
    with Front() as front:
        half = front.connect(b"GET /health HTTP/1.1\r\nA: ")
        silent = front.connect()
        drip = front.connect(b"POST /predict HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n{")
        steady = front.connect(post(b" " * 30_000)[:-30_000])
        for _ in range(30):
            for sock in (half, drip):
                with suppress(OSError):
                    sock.sendall(b"a")
            steady.sendall(b" " * 1000)
            time.sleep(0.1)
        assert code(read_all(half)) == "REQUEST_TIMEOUT_ERROR"
        assert status(read_all(drip)) == 408
        assert status(read_all(steady)) == 200
        assert read_all(silent) == b""
        for sock in (half, silent, drip, steady):
            sock.close()


def test_beyond_the_most_connections_the_longest_silent_are_closed() -> None:
    working = threading.Event()
    with (
        Front(lambda *_: b"done" if working.wait(20) else b"", PATHSERVE_MAX_CONNECTIONS=50) as front,
        ExitStack() as stack,
    ):
        at_work = stack.enter_context(front.connect(post(b"")))
        silent = [stack.enter_context(front.connect(b"GET" * (i % 2))) for i in range(120)]
        assert status(front.ask(HEALTH)) == 200
        assert silent[0].recv(1) == b""
        working.set()
        assert read_all(at_work).endswith(b"done")


def test_pipelined_requests_whose_answers_nobody_reads_hold_nothing(
    impatient: None,
) -> None:
    answer = b"x" * 100_000
    with Front(lambda *_: answer, PATHSERVE_THREADS=200) as front:
        deaf = [front.connect(receive_buffer=2304) for _ in range(30)]
        for sock in deaf:
            sock.setblocking(False)
            with suppress(BlockingIOError):
                sock.send(post(b"", "Connection: keep-alive") * 400)
        assert status(front.ask(HEALTH)) == 200
        assert status(front.ask(post(b""))) == 200
        time.sleep(2 * rules.READING_PACE_S)
        for sock in deaf:
            sock.settimeout(20)
            with pytest.raises(ConnectionError):
                read_all(sock)
            sock.close()


def gone_or_done(heard: list[str], stop: threading.Event) -> Callable[[bytearray, Received], bytes]:
    """Work until told to stop, or until the client has gone."""

    def work(_: bytearray, received: Received) -> bytes:
        heard.append("began")
        gone = threading.Event()
        with received.hang_up.during(gone.set):
            wait_until(lambda: stop.is_set() or gone.is_set(), "an end")
        heard.append("gone" if gone.is_set() else "done")
        return b"the answer"

    return work


@pytest.mark.parametrize("ending", ["close", "reset"])
def test_who_hangs_up_is_noticed_at_once(ending: str) -> None:
    heard: list[str] = []
    stop = threading.Event()
    with Front(gone_or_done(heard, stop)) as front:
        sock = front.connect(post(b"x"))
        wait_until(lambda: heard == ["began"], "work")
        if ending == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        wait_until(lambda: heard == ["began", "gone"], "the news", 5)
        stop.set()


def test_who_only_has_no_more_to_send_gets_the_answer() -> None:
    heard: list[str] = []
    stop = threading.Event()
    with Front(gone_or_done(heard, stop)) as front, front.connect(post(b"x")) as sock:
        sock.shutdown(socket.SHUT_WR)
        wait_until(lambda: heard == ["began"], "work")
        time.sleep(0.5)
        stop.set()
        answer = read_all(sock)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nthe answer")
    assert heard == ["began", "done"]


def test_who_hangs_up_while_waiting_for_a_turn_does_not_get_it() -> None:
    heard: list[str] = []
    taken: list[bytearray] = []
    stop = threading.Event()
    inner = gone_or_done(heard, stop)

    def work(body: bytearray, received: Received) -> bytes:
        taken.append(body)
        return inner(body, received)

    with Front(work, PATHSERVE_THREADS=4) as front:
        running = front.connect(post(b"x"))
        wait_until(lambda: heard == ["began"], "work")
        waiting = front.connect(post(b"y"))
        time.sleep(0.2)
        waiting.close()
        time.sleep(0.5)
        stop.set()
        assert read_all(running).endswith(b"the answer")
        assert status(front.ask(post(b"z"))) == 200
        running.close()
    assert [bytes(body) for body in taken] == [b"x", b"z"]


def test_who_hangs_up_while_waiting_for_a_turn_leaves_its_place_to_others() -> None:
    heard: list[str] = []
    stop = threading.Event()
    with Front(gone_or_done(heard, stop), PATHSERVE_THREADS=4) as front, ExitStack() as stack:
        running = stack.enter_context(front.connect(post(b"x")))
        wait_until(lambda: heard == ["began"], "work")
        for _ in range(6):  # there are places for two
            front.connect(post(b"y")).close()
            time.sleep(0.1)
        waiting = stack.enter_context(front.connect(post(b"z")))
        time.sleep(0.3)
        stop.set()
        assert read_all(running).endswith(b"the answer")
        assert status(read_all(waiting)) == 200


def test_bodies_of_clients_that_have_gone_are_counted_while_they_are_held() -> None:
    stop = threading.Event()
    began: list[bytes] = []

    def work(body: bytearray, _: Received) -> bytes:
        began.append(bytes(body[:4]))
        if body.startswith(b"hold"):
            stop.wait(20)
        return b"done"

    held = b"hold" + b" " * 3_000_000
    with (
        Front(work, PATHSERVE_MAX_REQUEST_BYTES=4_000_000, PATHSERVE_ADMISSION_TIMEOUT_S=0.5) as front,
        ExitStack() as stack,
    ):
        for number in range(3):
            front.connect(post(held)).close()
            wait_until(lambda n=number: len(began) == n + 1, "work")  # type: ignore[misc]
        oldest = stack.enter_context(front.connect(post(held)[:-1_000_000]))
        late = stack.enter_context(front.connect(post(held)[:-3_000_000]))
        threading.Thread(target=_send, args=(late, b" " * 3_000_000), daemon=True).start()
        assert status(late.recv(4096)) == 503
        stop.set()
        oldest.sendall(b" " * 1_000_000)
        assert status(oldest.recv(4096)) == 200
        assert status(front.ask(post(held))) == 200


def test_answers_that_nobody_takes_are_bounded_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = b"x" * 12_000_000  # more than the kernel takes for a client that does not read
    monkeypatch.setattr(rules, "ANSWER_BYTES", 2 * len(answer))
    with Front(lambda *_: answer) as front, ExitStack() as stack:
        deaf = [stack.enter_context(front.connect(post(b""), receive_buffer=2304)) for _ in range(6)]
        wait_until(lambda: sum(is_cut(sock) for sock in deaf) >= 2, "answers to be given up")
        assert front.ask(post(b"")).endswith(answer), "one that reads gets its own"


def is_cut(sock: socket.socket) -> bool:
    """Say whether a connection has been reset, reading nothing."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0 or (
        sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 7  # TCP_CLOSE
    )


def test_bodies_do_not_hold_more_memory_than_given() -> None:
    """Ten large bodies stop short of their end: the oldest may go on, the last is refused."""
    with (
        Front(PATHSERVE_MAX_REQUEST_BYTES=4_000_000, PATHSERVE_ADMISSION_TIMEOUT_S=0.5) as front,
        ExitStack() as stack,
    ):
        large = []
        for _ in range(10):
            sock = stack.enter_context(front.connect(post(b" " * 3_000_000)[:-3_000_000]))
            threading.Thread(target=_send, args=(sock, b" " * 2_900_000), daemon=True).start()
            large.append(sock)
            time.sleep(0.1)
        assert status(front.ask(post(b"small"))) == 200
        late = large[-1]
        assert status(late.recv(4096)) == 503
        large[0].sendall(b" " * 100_000)
        assert status(large[0].recv(4096)) == 200


def _send(sock: socket.socket, data: bytes) -> None:
    with suppress(OSError):
        sock.sendall(data)


def test_a_drain_answers_what_has_begun_and_what_still_arrives() -> None:
    stop = threading.Event()
    began = threading.Event()

    def work(body: bytearray, _: Received) -> bytes:
        began.set()
        stop.wait(20)
        return bytes(body)

    with Front(work) as front, ExitStack() as stack:
        at_work = stack.enter_context(front.connect(post(b"one", "Connection: keep-alive")))
        assert began.wait(10)
        arriving = stack.enter_context(front.connect(post(b"two")[:-2]))
        half = stack.enter_context(front.connect(b"GET /health HTTP/1.1\r\n"))
        idle = stack.enter_context(front.connect())
        time.sleep(0.3)
        front.end()
        half.sendall(b"\r\n")
        assert status(half.recv(4096)) == 200
        assert idle.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            front.connect()
        arriving.sendall(b"wo")
        stop.set()
        assert read_all(arriving).endswith(b"two")
        answer = read_all(at_work)
        assert answer.endswith(b"one")
        assert b"Connection: close" in answer


def test_a_drain_does_not_wait_for_clients_beyond_its_grace() -> None:
    with Front(PATHSERVE_GRACE_S=1) as front:
        socks = [front.connect(post(b" " * 100)[:-50]) for _ in range(20)]
        time.sleep(0.2)
        front.end()
        began = time.monotonic()
        for sock in socks:
            with suppress(ConnectionError):
                read_all(sock)
            sock.close()
        assert time.monotonic() - began < 5


@pytest.fixture(scope="module")
def https(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = self_signed(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def by_tls(sock: socket.socket) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(sock)


def test_a_drain_does_not_wait_for_the_farewell_of_tls_clients(https: ssl.SSLContext) -> None:
    with ExitStack() as stack:
        with Front(tls=https, PATHSERVE_GRACE_S=20) as front:
            idle = [stack.enter_context(by_tls(front.connect())) for _ in range(3)]
            idle[0].sendall(_NEXT)
            assert status(idle[0].recv(4096)) == 200
            began = time.monotonic()
        assert time.monotonic() - began < 10


def test_large_requests_ahead_of_their_time_are_answered_over_tls(https: ssl.SSLContext) -> None:
    body = b"x" * 3_000_000
    with Front(lambda body, _: str(len(body)).encode(), tls=https) as front, by_tls(front.connect()) as sock:
        # From this thread: reading a TLS socket while another writes it is not safe before Python 3.13.
        sock.sendall(post(body, "Connection: keep-alive") * 3 + post(body))
        assert read_all(sock).count(b"\r\n\r\n3000000") == 4


def test_an_idle_connection_is_kept_as_long_as_set() -> None:
    asked = post(b"x", "Connection: keep-alive")
    with Front(PATHSERVE_KEEP_ALIVE_S=1) as front, front.connect(asked) as sock:
        assert status(sock.recv(4096)) == 200
        began = time.monotonic()
        assert sock.recv(1) == b""
        assert 0.5 < time.monotonic() - began < 5


def test_pipelined_requests_of_a_half_closed_connection_are_all_answered(echo: Front) -> None:
    with echo.connect(b"".join(post(b"%d" % i, "Connection: keep-alive") for i in range(5))) as sock:
        sock.shutdown(socket.SHUT_WR)
        answers = read_all(sock)
    assert [answers.count(b"\r\n\r\n%d" % i) for i in range(5)] == [1] * 5


def test_a_request_that_is_cut_off_by_its_sender_is_refused(echo: Front) -> None:
    for body in (post(b"hello")[:-1], post(b"", "Connection: keep-alive") + post(b"hello")[:-1]):
        with echo.connect(body) as sock:
            sock.shutdown(socket.SHUT_WR)
            assert b"did not arrive completely" in read_all(sock)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"GET http://elsewhere:80/health?a=b HTTP/1.1", 200),
        (b"GET http://[/health HTTP/1.1", 400),
        (b"OPTIONS * HTTP/1.1", 404),
        (b"CONNECT elsewhere:443 HTTP/1.1", 404),
        (b"GET /%ff%00%0d%0a HTTP/1.1", 404),
        (b"GET /health/../health HTTP/1.1", 404),
        (b"HEAD /health HTTP/1.1", 200),
        (b"DELETE /health HTTP/1.1", 405),
        (b"GET /health HTTP/1.0", 200),
    ],
)
def test_odd_request_lines_are_answered(echo: Front, line: bytes, expected: int) -> None:
    answer = echo.ask(line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert status(answer) == expected
    assert b"elsewhere" not in answer
    assert answer.endswith(b"\r\n\r\n") == line.startswith(b"HEAD")
