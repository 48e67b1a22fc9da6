"""Connections that outlive their worker."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving.kept_sockets import KeptSockets, State
from serving.socket_keeper import ANSWER, SocketKeeper
from tests.support.service import wait_until


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[str]:
    address = str(tmp_path / "keeper.sock")
    keeping = SocketKeeper(address)
    keeping.start()
    yield address
    keeping.stop()


Connect = Callable[[], tuple[socket.socket, socket.socket]]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Make connections; return the client's end and the worker's."""
    with contextlib.ExitStack() as opened:
        listener = opened.enter_context(socket.create_server(("127.0.0.1", 0)))

        def make() -> tuple[socket.socket, socket.socket]:
            client = opened.enter_context(socket.create_connection(listener.getsockname()))
            client.settimeout(10)
            return client, opened.enter_context(listener.accept()[0])

        yield make


def work_and_die(address: str, connection: socket.socket, state: State) -> None:
    """Do as a worker that is killed while it has a connection: the system closes what it had open."""
    kept = KeptSockets(address)
    kept.enlist(connection)
    kept.note(connection, state)
    connection.close()
    kept._socket.close()


def everything(client: socket.socket) -> bytes:
    received = b""
    while piece := client.recv(1 << 16):
        received += piece
    return received


@pytest.mark.parametrize(
    ("state", "asked", "answer"),
    [
        (State.BUSY, b"", ANSWER),
        (State.IDLE, b"", b""),
        (State.IDLE, b"POST / HTTP/1.1\r\n", ANSWER),
        (State.ANSWERING, b"", b""),
    ],
)
def test_who_waits_for_an_answer_that_was_not_begun_is_told(
    keeper: str, connect: Connect, state: State, asked: bytes, answer: bytes
) -> None:
    client, connection = connect()
    client.sendall(asked)
    work_and_die(keeper, connection, state)
    assert everything(client) == answer


def test_a_client_that_is_still_sending_gets_to_read_the_answer(keeper: str, connect: Connect) -> None:
    client, connection = connect()
    work_and_die(keeper, connection, State.BUSY)
    for _ in range(100):
        client.sendall(bytes(1 << 18))
    assert everything(client) == ANSWER


def test_what_a_worker_closed_is_let_go_and_its_number_used_again(keeper: str, connect: Connect) -> None:
    kept = KeptSockets(keeper)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        pairs = [connect() for _ in range(50)]
        for _, connection in pairs:
            kept.enlist(connection)
        for client, connection in pairs:
            kept.forget(connection)
            connection.close()
            client.close()
    wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before + 10, "the duplicates to be closed")
    kept._socket.close()


def test_no_more_are_kept_than_leave_descriptors_for_all_else(keeper: str, connect: Connect) -> None:
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    kept = KeptSockets(keeper)
    client, connection = connect()
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, usual[1]))
    try:
        kept.enlist(connection)
        kept.note(connection, State.BUSY)
        connection.close()
        assert everything(client) == b""  # closed at once: there is no duplicate
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, usual)
        kept._socket.close()


def test_without_a_keeper_connections_are_just_not_kept(tmp_path: Path, connect: Connect) -> None:
    client, connection = connect()
    for address in (None, str(tmp_path / "nobody")):
        kept = KeptSockets(address)
        kept.enlist(connection)
        kept.note(connection, State.BUSY)
        kept.forget(connection)
    connection.sendall(b"served")
    assert client.recv(6) == b"served"
