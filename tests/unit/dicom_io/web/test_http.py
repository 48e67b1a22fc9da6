"""HTTP to stores over real sockets: what never ends, what breaks, and where it leads."""

from __future__ import annotations

import gc
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from dicom_io.errors import ImageCode, ImageError
from dicom_io.waiting import Stop
from dicom_io.web.allowlist import StoreAllowList
from dicom_io.web.credentials import BearerToken
from dicom_io.web.http import HttpStore, StorePolicy, StoreStatusError, read_limited
from dicom_io.web.patience import Patience
from dicom_io.web.urls import parse_url
from tests.support.raw_server import Answer, RawServer, ok, says

PIECE_S = 20.0
"""Longest wait for a piece of an answer: far more than any of these tests may take."""

Resolve = Callable[[str, str], None]


def store() -> HttpStore:
    return HttpStore(StorePolicy(StoreAllowList(None), allow_http=True, timeout_s=PIECE_S))


def read(address: str, *, seconds: float = 30.0, token: str | None = None, stop: Stop | None = None) -> bytes:
    patience = Patience(time.monotonic() + seconds, stop or Stop())
    bearer = None if token is None else BearerToken(token)
    return store().read(
        parse_url(address), "*/*", bearer, patience, lambda response: read_limited(response, 1 << 20)
    )


def fault(address: str, **options: object) -> ImageError:
    with pytest.raises(ImageError) as caught:
        read(address, **options)  # type: ignore[arg-type]
    return caught.value


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Resolve:
    """Lead names to addresses of one's choice."""
    real, names = socket.getaddrinfo, dict[str, str]()

    def look_up(host: str, *args: object, **options: object) -> object:
        return real(names.get(host, host), *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return names.__setitem__


DRIPS: dict[str, tuple[bytes, bytes]] = {
    "a status line": (b"HTTP/1.1 2", b"0"),
    "a header": (b"HTTP/1.1 200 OK\r\nX-A: ", b" "),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a body": (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b" "),
    "a body in chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "the size of a chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
    "a body without a length": (b"HTTP/1.1 200 OK\r\n\r\n", b" "),
    "a busy answer's header": (b"HTTP/1.1 503 Busy\r\nRetry-After: ", b"1"),
    "nothing": (b"", b""),
}


@pytest.mark.parametrize("what", DRIPS)
def test_what_drips_ends_by_the_deadline_and_its_connection_with_it(what: str) -> None:
    with RawServer(says(b"")) as server:
        server.answer = server.drip(*DRIPS[what])
        started = time.monotonic()
        assert fault(f"{server.origin}/x", seconds=0.7).code is ImageCode.HTTP_ERROR
        assert time.monotonic() - started < PIECE_S / 4
        assert what == "nothing" or server.gone.wait(10)


def test_a_tls_handshake_that_drips_ends_by_the_deadline() -> None:
    def answer(sock: socket.socket) -> None:
        with sock:
            sock.sendall(b"\x16\x03\x03\x40\x00")  # a record of a handshake, 16 kB long
            while not ended.wait(0.1):
                sock.sendall(b"\x02")

    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=lambda: answer(listener.accept()[0]), daemon=True).start()
        started = time.monotonic()
        assert (
            fault(f"https://127.0.0.1:{listener.getsockname()[1]}/x", seconds=0.7).code
            is ImageCode.HTTP_ERROR
        )
        assert time.monotonic() - started < PIECE_S / 4
        ended.set()


def test_a_name_that_is_never_resolved_ends_by_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()

    def look_up(*_: object, **__: object) -> list[object]:
        ended.wait(PIECE_S)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    started = time.monotonic()
    assert fault("https://store.org/x", seconds=0.5).code is ImageCode.HTTP_ERROR
    assert time.monotonic() - started < PIECE_S / 4
    ended.set()


@pytest.mark.parametrize("asked", ["99999999", "1" + "0" * 5000, "Wed, 21 Oct 2099 07:28:00 GMT", "31"])
def test_a_retry_after_beyond_the_deadline_gives_up_at_once(asked: str) -> None:
    with RawServer(says(ok(b"", f"Retry-After: {asked}", status="503 Busy"))) as server:
        started = time.monotonic()
        found = fault(f"{server.origin}/x", seconds=30 if len(asked) < 5000 else 1)
        assert isinstance(found, StoreStatusError)
        assert time.monotonic() - started < 5


def test_another_thread_ends_a_read_at_once() -> None:
    stop, found = Stop(), list[ImageError]()
    with RawServer(says(b"")) as server:
        begun = threading.Event()

        def silent(sock: socket.socket, _: bytes) -> None:
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
            begun.set()
            if sock.recv(1) == b"":
                server.gone.set()

        server.answer = silent
        reader = threading.Thread(target=lambda: found.append(fault(f"{server.origin}/x", stop=stop)))
        reader.start()
        assert begun.wait(10)
        stop.set()
        reader.join(5)
        assert server.gone.wait(5)
    assert found[0].code is ImageCode.HTTP_ERROR


def reset(sock: socket.socket, _: bytes = b"") -> None:
    """Close a connection with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize(
    "broken",
    [
        says(b""),
        reset,
        says(b"HTTP/1.1 200 OK\r\nContent-Le"),
        says(ok(b"whole")[:-2]),
        says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwh"),
    ],
    ids=["closed", "reset", "cut in the head", "cut in the body", "cut in a chunk"],
)
def test_a_connection_that_is_lost_is_tried_again(broken: Answer) -> None:
    def answer(sock: socket.socket, head: bytes) -> None:
        (broken if len(server.requests) < 3 else says(ok(b"whole")))(sock, head)

    with RawServer(answer) as server:
        assert read(f"{server.origin}/x") == b"whole"
        assert len(server.requests) == 3


def test_a_connection_that_is_always_lost_is_not_tried_for_ever() -> None:
    with RawServer(says(b"")) as server:
        assert fault(f"{server.origin}/x").code is ImageCode.HTTP_ERROR
        assert 2 <= len(server.requests) <= 6


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"127.0.0.1:{taken.getsockname()[1]}"


# The standard library forgets a socket that is reset before its TLS handshake.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_which_ports_of_a_private_address_are_open_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dicom_io.web.patience._BACK_OFF_S", 0.01)
    told = {(scheme, fault(f"{scheme}://{closed_port()}/x").description) for scheme in ("http", "https")}
    for answer in (says(b""), reset, says(b"SSH-2.0-x\r\n"), says(b"\0\1\2" * 50), says(b"+OK ready\r\n")):
        with RawServer(answer, reads=False) as server:
            address = f"127.0.0.1:{server.port}/x"
            told |= {(scheme, fault(f"{scheme}://{address}").description) for scheme in ("http", "https")}
    with RawServer(says(b"")) as silent:
        silent.answer = silent.drip(b"", b"")
        address = f"127.0.0.1:{silent.port}/x"
        told |= {(s, fault(f"{s}://{address}", seconds=0.5).description) for s in ("http", "https")}
    assert len({description for _, description in told}) == 1
    gc.collect()  # here, where the forgotten sockets are expected, and not in any later test


@pytest.fixture
def pair() -> Iterator[tuple[RawServer, RawServer]]:
    with RawServer(says(ok(b"there"))) as one, RawServer(says(ok(b"there"))) as two:
        yield one, two


def redirect(location: str) -> Answer:
    return says(ok(b"", f"Location: {location}", status="302 Found"))


def test_a_token_does_not_come_back_with_a_redirect_that_left(pair: tuple[RawServer, RawServer]) -> None:
    home, elsewhere = pair
    elsewhere.answer = redirect(f"{home.origin}/chosen-by-others")

    def answer(sock: socket.socket, head: bytes) -> None:
        (says(ok(b"got")) if b"chosen" in head else redirect(f"{elsewhere.origin}/away"))(sock, head)

    home.answer = answer
    assert read(f"{home.origin}/x", token="the-token") == b"got"
    assert b"the-token" in home.requests[0]
    assert b"the-token" not in elsewhere.requests[0] + home.requests[1]


def test_a_token_stays_with_redirects_at_home(pair: tuple[RawServer, RawServer]) -> None:
    home, _ = pair
    home.answer = lambda s, head: (says(ok(b"")) if b"?q=%20" in head else redirect("/y?q=%20"))(s, head)
    read(f"{home.origin}/x", token="the-token")
    assert [b"the-token" in head for head in home.requests] == [True, True]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]", "inner.org"])
def test_nobody_elsewhere_leads_to_this_machine(
    host: str, pair: tuple[RawServer, RawServer], resolve: Resolve
) -> None:
    """A name stands for a store elsewhere: what it is allowed itself, what it names is not."""
    outer, inner = pair
    resolve("outer.org", "127.0.0.1")
    resolve("inner.org", "127.0.0.1")
    outer.answer = redirect(f"http://{host}:{inner.port}/x")
    found = fault(f"http://outer.org:{outer.port}/x")
    assert found.code is ImageCode.UNAPPROVED_DICOM_STORE_ERROR
    assert len(outer.requests) == 1
    assert inner.requests == []


def test_a_connection_that_a_caller_opened_is_not_lent_to_a_redirect(
    pair: tuple[RawServer, RawServer], resolve: Resolve
) -> None:
    outer, inner = pair
    for name in ("outer.org", "inner.org"):
        resolve(name, "127.0.0.1")
    outer.answer = redirect(f"http://inner.org:{inner.port}/x")
    http, patience = store(), Patience(time.monotonic() + 30)
    named = parse_url(f"http://inner.org:{inner.port}/x")
    assert http.read(named, "*/*", None, patience, lambda r: read_limited(r, 100)) == b"there"
    with pytest.raises(ImageError):
        http.read(
            parse_url(f"http://outer.org:{outer.port}/x"),
            "*/*",
            None,
            patience,
            lambda r: read_limited(r, 100),
        )
    assert len(inner.requests) == 1


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "[fd00:ec2::254]", "metadata.google.internal", "100.100.100.200", "168.63.129.16",
     "[::ffff:169.254.169.254]", "inner.org", "2852039166"],
)  # fmt: skip
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_metadata_services_are_never_read(
    host: str,
    scheme: str,
    pair: tuple[RawServer, RawServer],
    resolve: Resolve,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolve("inner.org", "169.254.169.254")
    resolve("outer.org", "127.0.0.1")
    connected = list[str]()
    real = socket.socket.connect

    def connect(sock: socket.socket, address: tuple[str, int]) -> None:
        connected.append(address[0])
        real(sock, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    target = f"{scheme}://{host}/latest"
    assert fault(target).code is ImageCode.UNAPPROVED_DICOM_STORE_ERROR
    pair[0].answer = redirect(target)
    assert fault(f"http://outer.org:{pair[0].port}/x").code is ImageCode.UNAPPROVED_DICOM_STORE_ERROR
    assert set(connected) == {"127.0.0.1"}
