"""The decoding helper: ``python -m dicom_io.decoding.child FD``, started and killed by ``decoding.pool``.

It decodes one image or frame at a time, for one HTTP worker, with bounds on its memory and its processor
time that the system enforces: a decoder that crashes, never ends or asks for too much takes down this process
and nothing else. Jobs come as JSON packets over a socket, each with a memory file that holds the encoded
bytes and has room for the pixels.
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
from typing import Any

import numpy as np

from dicom_io.codecs.frame import decode_frame
from dicom_io.codecs.frame_format import FrameError, FrameFormat
from dicom_io.codecs.raster import RasterFile
from dicom_io.decoding.helper import MAX_PACKET
from dicom_io.errors import ImageError

_ENDED_BY_WORKER = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals that a supervisor may send to all processes at once; requests being drained still need this one."""


def main() -> None:
    """Decode until the worker closes its end of the socket."""
    for number in _ENDED_BY_WORKER:
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold images
    worker = socket.socket(fileno=int(sys.argv[1]))
    at_start = _address_space()
    worker.send(b"{}")
    while True:
        packet, fds, _, _ = socket.recv_fds(worker, MAX_PACKET, 1)
        if not packet:
            return
        job = json.loads(packet)
        _limit(job["cpu_s"], at_start + job["memory"])
        answer = json.dumps(_run(job, fds[0]))
        os.close(fds[0])
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


def _run(job: dict[str, Any], fd: int) -> dict[str, Any]:
    with mmap.mmap(fd, 0) as memory:
        data = memory[: job["length"]]
        try:
            if "frame" in job:
                width, height, samples, photometric, planar = job["frame"]
                form = FrameFormat(width, height, samples, photometric, planar)
                pixels, profile = decode_frame(data, job["syntax"], form), None
            else:
                raster = RasterFile(data, job["max_pixels"]).decode()
                pixels, profile = raster.pixels, raster.icc_profile
        except FrameError as error:
            return {"fault": str(error)}
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


if __name__ == "__main__":
    main()
