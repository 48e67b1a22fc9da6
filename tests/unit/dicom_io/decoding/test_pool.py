"""Decoding helpers are real processes; what kills them is the system, or a real decoder's fault."""

from __future__ import annotations

import os
import signal
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagecodecs
import numpy as np
import psutil
import pytest

from dicom_io.codecs.frame_format import FrameError, FrameFormat
from dicom_io.codecs.raster import RasterFile
from dicom_io.decoding.pool import DecodePool
from dicom_io.errors import ImageCode, ImageError
from dicom_io.geometry import UInt8Array
from tests.support.decoders import helpers
from tests.support.tissue import tissue

J2K, RLE, NATIVE = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.1"


@pytest.fixture
def pool() -> Iterator[DecodePool]:
    pool = DecodePool(1)
    yield pool
    pool.close()


def frame(side: int = 64) -> tuple[bytes, FrameFormat, UInt8Array]:
    pixels = np.ascontiguousarray(tissue(side, side))
    data = bytes(imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="J2K", mct=True))
    return data, FrameFormat(side, side, 3, "YBR_RCT", 0), pixels


_OF_OTHERS = set[psutil.Process]()


@pytest.fixture(autouse=True)
def of_others() -> None:
    """Helpers of pools that earlier tests of this process have not closed are none of ours."""
    _OF_OTHERS.clear()
    _OF_OTHERS.update(helpers())


def own_helpers() -> list[psutil.Process]:
    return [helper for helper in helpers() if helper not in _OF_OTHERS]


def test_a_frame_and_an_image_come_back_as_they_are(pool: DecodePool) -> None:
    data, form, pixels = frame()
    np.testing.assert_array_equal(pool.frame(data, J2K, form), pixels)
    large, _, truth = frame(700)  # comes back without a copy
    file = RasterFile(large, 700 * 700)
    raster = pool.image(file, large, 700 * 700)
    np.testing.assert_array_equal(raster.pixels, truth)
    assert raster.icc_profile is None
    assert len(own_helpers()) == 1


def test_what_is_safe_to_decode_here_starts_no_helper(pool: DecodePool) -> None:
    pixels = pool.frame(bytes(range(48)), NATIVE, FrameFormat(4, 4, 3, "RGB", 0))
    np.testing.assert_array_equal(pixels.ravel(), np.arange(48))
    assert own_helpers() == []


def test_a_fault_keeps_its_code_and_sentence(pool: DecodePool) -> None:
    data, form, _ = frame()
    with pytest.raises(FrameError):
        pool.frame(data[: len(data) // 2], J2K, form)
    cut = data[: len(data) // 2]
    with pytest.raises(ImageError) as caught:
        pool.image(RasterFile(cut, 10_000), cut, 10_000)
    assert caught.value.code is ImageCode.IMAGE_ERROR
    np.testing.assert_array_equal(pool.frame(*_ordered(frame())), frame()[2])


def _ordered(made: tuple[bytes, FrameFormat, UInt8Array]) -> tuple[bytes, str, FrameFormat]:
    return made[0], J2K, made[1]


def test_a_helper_that_was_killed_is_replaced_and_the_frame_is_decoded(pool: DecodePool) -> None:
    data, form, pixels = frame()
    pool.frame(data, J2K, form)
    (helper,) = own_helpers()
    helper.send_signal(signal.SIGKILL)
    np.testing.assert_array_equal(pool.frame(data, J2K, form), pixels)
    assert own_helpers()[0].pid != helper.pid
    assert pool.healthy


def test_signals_meant_for_the_whole_service_leave_a_helper_to_its_work(pool: DecodePool) -> None:
    data, form, pixels = frame()
    pool.frame(data, J2K, form)
    (helper,) = own_helpers()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        helper.send_signal(number)
    np.testing.assert_array_equal(pool.frame(data, J2K, form), pixels)
    assert own_helpers()[0].pid == helper.pid


# A stand-in for decoders with faults: found first on the path of the helper, it does as the bytes say.
FAULTY = """
import os, signal, sys
import dicom_io.codecs.frame as frames
def decode(data, syntax, form):
    order = bytes(data)
    if order == b"crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if order == b"endless":
        while True:
            pass
    if order == b"greedy":
        bytearray(8 << 30)
    if order.startswith(b"once"):
        path = order[4:].decode()
        if not os.path.exists(path):
            open(path, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
    return b"\\x07" * 0 or __import__("numpy").full((form.height, form.width, form.samples), 7, "uint8")
frames.decode_frame = decode
"""
FORM = FrameFormat(8, 8, 3, "RGB", 0)


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DecodePool]:
    (tmp_path / "sitecustomize.py").write_text(FAULTY)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path.cwd())]))
    monkeypatch.setattr("dicom_io.decoding.pool._CPU_S", 1)
    pool = DecodePool(1)
    yield pool
    pool.close()


@pytest.mark.parametrize(
    ("order", "said"),
    [(b"crash", "SIGSEGV"), (b"endless", "longer to decode"), (b"greedy", "memory")],
)
def test_a_decoder_that_ends_its_process_fails_that_frame_and_no_other(
    faulty: DecodePool, order: bytes, said: str
) -> None:
    with pytest.raises(FrameError, match=said):
        faulty.frame(order, J2K, FORM)
    assert (faulty.frame(b"fine", J2K, FORM) == 7).all()
    assert faulty.healthy


def test_a_frame_whose_helper_died_is_tried_once_more(faulty: DecodePool, tmp_path: Path) -> None:
    once = b"once" + str(tmp_path / "died").encode()
    assert (faulty.frame(once, J2K, FORM) == 7).all()


def test_frames_behind_an_endless_one_are_decoded(faulty: DecodePool) -> None:
    failed: list[FrameError] = []

    def endless() -> None:
        try:
            faulty.frame(b"endless", J2K, FORM)
        except FrameError as error:
            failed.append(error)

    threads = [threading.Thread(target=endless) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert (faulty.frame(b"fine", J2K, FORM) == 7).all()
    for thread in threads:
        thread.join()
    assert len(failed) == 2


def test_large_images_leave_a_helper_to_others(faulty: DecodePool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dicom_io.decoding.pool._CPU_S", 20)
    monkeypatch.setattr("dicom_io.decoding.pool._LONG_S", 21)
    large = FrameFormat(1000, 1000, 3, "RGB", 0)
    pool = DecodePool(2)
    pool.frame(b"fine", J2K, FORM)
    threads = [
        threading.Thread(target=pytest.raises, args=(ImageError, pool.frame, b"endless", J2K, large))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    assert (pool.frame(b"fine", J2K, FORM) == 7).all()
    assert all(thread.is_alive() for thread in threads)
    pool.close()  # what it ends is not tried again
    for thread in threads:
        thread.join(30)
    assert own_helpers() == []


def test_a_helper_that_was_starting_while_the_pool_closed_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starting, go_on = tmp_path / "starting", tmp_path / "go_on"
    os.mkfifo(starting)
    os.mkfifo(go_on)
    # A helper imports this before anything else: it says that it runs, and waits.
    (tmp_path / "sitecustomize.py").write_text(f"open({str(starting)!r}, 'w')\nopen({str(go_on)!r}).read()\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    pool = DecodePool(1)
    data, form, _ = frame()
    with ThreadPoolExecutor(1) as threads:
        decoding = threads.submit(pool.frame, data, J2K, form)
        starting.read_text()
        pool.close()
        go_on.write_text("")
        with pytest.raises(ImageError, match="No decoder"):
            decoding.result(30)
    assert own_helpers() == []


def test_a_helper_that_is_killed_as_it_starts_is_started_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    died = tmp_path / "died"
    (tmp_path / "sitecustomize.py").write_text(
        f"import os\nif not os.path.exists({str(died)!r}):\n"
        f"    open({str(died)!r}, 'w').close()\n    os.kill(os.getpid(), 9)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    pool = DecodePool(1)
    data, form, pixels = frame()
    np.testing.assert_array_equal(pool.frame(data, J2K, form), pixels)
    assert died.exists()
    assert pool.healthy
    pool.close()


def test_a_helper_that_cannot_be_started_makes_the_pool_unhealthy_until_one_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = DecodePool(1)
    data, form, pixels = frame()
    with monkeypatch.context() as broken:
        broken.setattr("sys.executable", "/nonexistent/python")
        for _ in range(3):
            with pytest.raises(ImageError, match="try again") as caught:
                pool.frame(data, J2K, form)
            assert caught.value.code is ImageCode.INTERNAL_ERROR, "the frame is not to blame"
        ill = pool.healthy
        assert not ill
    np.testing.assert_array_equal(pool.frame(data, J2K, form), pixels)
    assert pool.healthy
    pool.close()


def test_a_helper_knows_no_keys_and_ends_with_its_worker(
    pool: DecodePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATHSERVE_API_KEYS", "secret-of-the-service")
    data, form, _ = frame()
    pool.frame(data, J2K, form)
    (helper,) = own_helpers()
    assert "PATHSERVE_API_KEYS" not in helper.environ()
    pool.close()
    assert helper.wait(10) is not None or not helper.is_running()


def test_a_segment_table_that_points_beyond_its_frame_costs_that_frame_alone(pool: DecodePool) -> None:
    hostile = struct.pack("<III", 2, 64, 0x7FFFFFFF).ljust(64, b"\0") + b"\x81\xff" * 40
    with pytest.raises(FrameError):
        pool.frame(hostile, RLE, FrameFormat(224, 224, 3, "RGB", 0))
    data, form, pixels = frame()
    np.testing.assert_array_equal(pool.frame(data, J2K, form), pixels)
