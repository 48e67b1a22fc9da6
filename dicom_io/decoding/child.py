"""The decoding helper: ``python -m dicom_io.decoding.child FD``, started and killed by ``decoding.pool``.

It decodes one image or frame at a time, or reads a part of a slide's file, for one HTTP worker, with bounds
on its memory and its processor time that the system enforces: a decoder that crashes, never ends or asks for
too much takes down this process and nothing else. Jobs come as JSON packets over a socket, each with a memory
file that holds the encoded bytes and has room for the pixels.
"""

from __future__ import annotations

import array
import contextlib
import json
import math
import mmap
import os
import resource
import signal
import socket
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from dicom_io.codecs.frame import decode_frame
from dicom_io.codecs.frame_format import FrameError, FrameFormat
from dicom_io.codecs.raster import RasterFile
from dicom_io.decoding.helper import MAX_PACKET
from dicom_io.decoding.slide_jobs import NOT_INSTALLED, SlideFault
from dicom_io.errors import ImageError
from dicom_io.geometry import UInt8Array

if TYPE_CHECKING:
    from dicom_io.decoding.slide_files import SlideHandles

_ENDED_BY_WORKER = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals that a supervisor may send to all processes at once; requests being drained still need this one."""


_MAX_REASON = 1000


def main() -> None:
    """Decode until the worker closes its end of the socket."""
    for number in _ENDED_BY_WORKER:
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold images
    worker = socket.socket(fileno=int(sys.argv[1]))
    own = _address_space()
    worker.send(b"{}")
    reader = SlideReader()
    while True:
        packet, fds, _, _ = socket.recv_fds(worker, MAX_PACKET, 1)
        if not packet:
            return
        job = json.loads(packet)
        before = _address_space()
        _limit(job["cpu_s"], own + job["memory"])
        answer = json.dumps(reader.look(job, fds[0]) if "regions" in job else _run(job, fds[0], reader))
        os.close(fds[0])
        if "slide" in job:  # what slides keep open is no part of what the next job may take
            own += _address_space() - before
        with contextlib.suppress(BrokenPipeError):  # the worker is gone; the next receive ends the loop
            worker.send(answer.encode())


def _limit(cpu_s: int, memory: int) -> None:
    """Bound this job: beyond its time the kernel ends the process, beyond its memory allocations fail.

    Only soft limits are set, so that the next job may raise them again. The kernel counts processor time from
    the start of the process, hence the addition.
    """
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time()) + cpu_s, most))
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (memory, most))


def _address_space() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[0]) * mmap.PAGESIZE


class SlideReader:
    """Runs jobs about slides; OpenSlide is loaded by the first one."""

    def __init__(self) -> None:
        self._handles: SlideHandles | None = None
        self._window: tuple[int, UInt8Array] | None = None

    def run(self, job: dict[str, Any]) -> tuple[UInt8Array, bytes]:
        """Return bytes, and JSON where there are facts to tell.

        Raises
        ------
        SlideFault
        """
        handles, where = self._opened(), (job["slide"]["path"], job["slide"]["stamp"])
        if "tiles" in job:
            from dicom_io.decoding.slide_files import jpeg_tiles  # noqa: PLC0415

            found = jpeg_tiles(where[0], *job["tiles"])
            return _NOTHING if found is None else (found[1], json.dumps(asdict(found[0])).encode())
        description, icc = handles.describe(*where)
        return np.frombuffer(icc, np.uint8), json.dumps(description.to_json()).encode()

    def look(self, job: dict[str, Any], fd: int) -> dict[str, Any]:
        """Write regions to the memory that stays shared with the worker; return the answer."""
        if self._window is None or self._window[0] != job["window"]:
            self._window = job["window"], np.frombuffer(mmap.mmap(fd, 0), np.uint8)
        places, width, height = job["regions"], job["width"], job["height"]
        size = len(places) * height * width * 3
        out = self._window[1][:size].reshape(len(places), height, width, 3)
        try:
            self._opened().regions(job["slide"]["path"], job["slide"]["stamp"], job["level"], places, out)
        except SlideFault as error:
            return {"fault": str(error)[:_MAX_REASON]}
        except MemoryError:
            return {"fault": "it takes more memory to read than a slide should"}
        return {}

    def _opened(self) -> SlideHandles:
        try:
            from dicom_io.decoding.slide_files import SlideHandles  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise SlideFault(NOT_INSTALLED) from error
        if self._handles is None:
            self._handles = SlideHandles()
        return self._handles


_NOTHING = (np.empty(0, np.uint8), b"")


def _run(job: dict[str, Any], fd: int, reader: SlideReader) -> dict[str, Any]:
    with mmap.mmap(fd, 0) as memory:
        try:
            pixels, profile = _result(job, memory, reader)
        except (FrameError, SlideFault) as error:
            return {"fault": str(error)[:_MAX_REASON]}
        except ImageError as error:
            return {"fault": error.description, "code": error.code}
        except MemoryError:
            return {"fault": "it takes more memory to decode than an image of its size should"}
        out = np.frombuffer(memory, np.uint8)[job["out"] :]
        if pixels.nbytes + len(profile or b"") > len(out):
            return {"fault": "it decodes to more than its header says"}
        out[: pixels.nbytes] = pixels.reshape(-1)
        out[pixels.nbytes : pixels.nbytes + len(profile or b"")] = array.array("B", profile or b"")
        del out  # a mapping cannot be closed while an array refers to it
        return {"shape": pixels.shape, "profile": None if profile is None else len(profile)}


def _result(job: dict[str, Any], memory: mmap.mmap, reader: SlideReader) -> tuple[UInt8Array, bytes | None]:
    if "slide" in job:
        return reader.run(job)
    data = memory[: job["length"]]
    if "frame" in job:
        width, height, samples, photometric, planar = job["frame"]
        form = FrameFormat(width, height, samples, photometric, planar)
        return decode_frame(data, job["syntax"], form), None
    raster = RasterFile(data, job["max_pixels"]).decode()
    return raster.pixels, raster.icc_profile


if __name__ == "__main__":
    main()
