"""Frames on their way: shared, ended with their request, and asked for again in another's name."""

from __future__ import annotations

import gc
import socket
import threading
import time
import weakref
from collections.abc import Hashable, Iterator

import pytest

from dicom_io.codecs.frame import decode_frame
from dicom_io.errors import ImageCode, ImageError
from dicom_io.io_threads import IoThreads
from dicom_io.slides.frame_cache import FrameCache
from dicom_io.slides.frame_fetcher import FrameFetcher
from dicom_io.slides.instance import parse_instance
from dicom_io.slides.opening import FramesOfSeries
from dicom_io.slides.pyramid import select_level
from dicom_io.waiting import Cancellation
from dicom_io.web.allowlist import StoreAllowList
from dicom_io.web.dicomweb import DicomWebStore
from dicom_io.web.http import HttpStore, StorePolicy
from dicom_io.web.series_path import parse_series_path
from tests.support.raw_server import RawServer, ok, says
from tests.support.slides import Slide, pyramid

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/related; boundary=b\r\n\r\n"


@pytest.fixture
def io() -> Iterator[IoThreads]:
    threads = IoThreads(8)
    yield threads
    threads.shutdown(cancel_futures=True)


def dicomweb(io: IoThreads) -> DicomWebStore:
    return DicomWebStore(HttpStore(StorePolicy(StoreAllowList(None), False, 30.0)), io)


def fetcher(
    server: RawServer, slide: Slide, store: DicomWebStore, cache: FrameCache[Hashable]
) -> FrameFetcher:
    path = parse_series_path(f"{server.origin}/studies/{slide.study}/series/{slide.series}")
    tags = slide.instances[0].dataset.to_json_dict()
    level = select_level([parse_instance(tags)], [slide.instances[0].uid], strict=False)
    series = store.series(path, None, Cancellation(time.monotonic() + 60))
    return FrameFetcher(FramesOfSeries(series, level), cache, level)


def test_closing_ends_what_is_on_its_way_and_others_ask_in_their_own_name(io: IoThreads) -> None:
    slide = pyramid("JPEG", [(500, 350)])
    cache: FrameCache[Hashable] = FrameCache(1 << 24, decode_frame)
    store, hanging = dicomweb(io), threading.Event()

    def answer(sock: socket.socket, head: bytes) -> None:
        numbers = [int(n) for n in head.split(b" ")[1].rsplit(b"/", 1)[1].split(b",")]
        parts = [
            b"--b\r\nContent-Type: image/jpeg\r\n\r\n" + slide.instances[0].frames[n - 1] for n in numbers
        ]
        if len(server.requests) > 1:
            sock.sendall(HEAD + b"\r\n".join(parts) + b"\r\n--b--")
            return
        sock.sendall(HEAD + parts[0] + b"\r\n--b")
        hanging.set()
        if sock.recv(1) == b"":
            server.gone.set()

    with RawServer(answer) as server:
        first, second = (fetcher(server, slide, store, cache) for _ in range(2))
        first.plan([[0, 1, 2, 3]])
        assert hanging.wait(10)
        second.plan([[0, 1, 2, 3]])
        first.close()
        assert server.gone.wait(5)
        second.wait([0, 1, 2, 3])
        assert [second.pixels(frame).shape for frame in range(4)] == [(256, 256, 3)] * 4
        assert len(server.requests) == 2


def test_a_request_whose_own_frames_fail_does_not_ask_for_ever(io: IoThreads) -> None:
    slide = pyramid("JPEG", [(500, 350)])
    cache: FrameCache[Hashable] = FrameCache(1 << 24, decode_frame)
    with RawServer(says(ok(b"", status="404 Not Found"))) as server:
        asked = fetcher(server, slide, dicomweb(io), cache)
        asked.plan([[0, 1]])
        with pytest.raises(ImageError) as caught:
            asked.wait([0, 1])
        assert caught.value.code is ImageCode.HTTP_ERROR
        assert len(server.requests) <= 3


@pytest.mark.parametrize("frames", [2, 0], ids=["cut off", "refused"])
def test_what_has_come_for_a_request_that_fails_goes_with_it(io: IoThreads, frames: int) -> None:
    slide = pyramid("JPEG", [(500, 350)])
    cache: FrameCache[Hashable] = FrameCache(0, decode_frame)
    parts = b"\r\n".join(b"--b\r\n\r\n" + frame for frame in slide.instances[0].frames[:frames])
    whole = HEAD + parts + b"\r\n--b--" if frames else ok(b"", status="403 Forbidden")
    with RawServer(says(whole)) as server:
        gc.disable()  # what only the collector finds stays for as long as it likes
        try:
            asked = fetcher(server, slide, dicomweb(io), cache)
            asked.plan([[0, 1, 2, 3]])
            with pytest.raises(ImageError):
                asked.wait([0, 1, 2, 3])
            asked.close()
            gone = weakref.ref(asked)
            del asked
            until = time.monotonic() + 5
            while gone() is not None and time.monotonic() < until:
                threading.Event().wait(0.01)
            assert gone() is None
        finally:
            gc.enable()


def test_a_frame_that_failed_with_others_is_asked_for_alone_and_nothing_is_kept_of_its_patches(
    io: IoThreads,
) -> None:
    slide = pyramid("JPEG", [(500, 350)])
    cache: FrameCache[Hashable] = FrameCache(0, decode_frame)

    def answer(sock: socket.socket, head: bytes) -> None:
        numbers = [int(n) for n in head.split(b" ")[1].rsplit(b"/", 1)[1].split(b",")]
        if 2 in numbers:
            sock.sendall(ok(b"", status="410 Gone"))
            return
        parts = [b"--b\r\n\r\n" + slide.instances[0].frames[n - 1] for n in numbers]
        sock.sendall(HEAD + b"\r\n".join(parts) + b"\r\n--b--")

    with RawServer(answer) as server:
        asked = fetcher(server, slide, dicomweb(io), cache)
        needs = [[0, 1], [1, 2], [2, 3], [0, 3]]
        asked.plan(needs)
        came = []
        for frames in needs:
            try:
                asked.wait_for_each(frames)
                came.append([asked.pixels(frame).shape for frame in frames])
            except ImageError as error:
                assert error.code is ImageCode.HTTP_ERROR
                came.append([])
            asked.done_with(frames)
        assert came == [[], [], [(256, 256, 3)] * 2, [(256, 256, 3)] * 2]
        assert asked._frames == {}
        asked.close()
