"""Metadata of series, read from a store and kept."""

from __future__ import annotations

import base64
import ctypes
import json
import os
import socket
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from dicom_io.errors import ImageError
from dicom_io.io_threads import IoThreads
from dicom_io.waiting import Cancellation
from dicom_io.web.series_path import parse_series_path
from tests.support.raw_server import RawServer, ok
from tests.support.service import wait_until
from tests.support.slides import pyramid
from tests.unit.dicom_io.slides.test_frame_fetcher import dicomweb


@pytest.fixture
def io() -> Iterator[IoThreads]:
    threads = IoThreads(8)
    yield threads
    threads.shutdown(cancel_futures=True)


def test_metadata_that_are_kept_stay_within_their_cache(io: IoThreads) -> None:
    """Profiles of 12 MB, eight series, then one of 40 MB: kept up to 64 MiB, and not beyond."""
    tags = pyramid("JPEG", [(300, 300)]).instances[0].dataset.to_json_dict()

    def answer(sock: socket.socket, head: bytes) -> None:
        size = 40_000_000 if b"3.99" in head else 12_000_000
        inline = base64.b64encode(os.urandom(size)).decode("ascii")
        document = json.dumps([tags | {"00282000": {"vr": "OB", "InlineBinary": inline}}])
        sock.sendall(ok(document.encode(), "Content-Type: application/dicom+json"))

    store, process = dicomweb(io), psutil.Process()
    with RawServer(answer) as server:

        def ask(number: int) -> None:
            path = parse_series_path(f"{server.origin}/studies/1.2/series/3.{number}")
            assert len(store.series(path, None, Cancellation(time.monotonic() + 60)).instances()) == 1

        ask(1)
        before = process.memory_info().rss
        for number in (*range(2, 9), 99):
            ask(number)

        def grown_mb() -> float:
            ctypes.CDLL(None).malloc_trim(0)
            return (process.memory_info().rss - before) / 1e6

        # The server is in this process, too, and lets go of an answer only some time after it has arrived.
        wait_until(lambda: grown_mb() < 150, "less than 150 MB of memory")
        asked = len(server.requests)
        ask(8)
        assert len(server.requests) == asked  # kept
        ask(1)
        assert len(server.requests) == asked + 1  # let go of


def test_metadata_that_nobody_waits_for_any_more_are_not_read_on(io: IoThreads) -> None:
    asked = threading.Event()

    def answer(sock: socket.socket, head: bytes) -> None:
        sock.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/dicom+json\r\nContent-Length: 99\r\n\r\n["
        )
        asked.set()
        if sock.recv(1) == b"":
            server.gone.set()

    waits, store = Cancellation(time.monotonic() + 60), dicomweb(io)
    with RawServer(answer) as server:
        path = parse_series_path(f"{server.origin}/studies/1.2/series/3.4")
        reading = io.submit(store.series(path, None, waits).instances)
        assert asked.wait(10)
        waits.cancel()
        with pytest.raises(ImageError):
            reading.result(10)
        assert server.gone.wait(10)
        assert len(server.requests) == 1
