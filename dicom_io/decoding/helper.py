"""One decoding helper: its process, and the memory file that carries bytes to it and pixels back.

Why a plain child process rather than ``multiprocessing``: a helper must be killable at any moment, without a
lock, a queue or a feeder thread left half-way; it must inherit no descriptor, key or token of the worker that
starts it; and it imports the decoders only. Why a memory file rather than a pipe: pixels take up to 4 bytes a
pixel of the largest image, and are used where they were written instead of being copied twice.

What comes back is hostile once a decoder has been taken over. The file's size is therefore sealed (a file
that shrinks under a mapping is a SIGBUS in the worker), and NumPy holds whatever shape the answer claims to
the bounds of the mapping.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import math
import mmap
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dicom_io.geometry import UInt8Array

_START_S = 60.0
_COPIED_BELOW = 1 << 20
"""Smaller results are copied out of their mapping: Linux allows a process only some 65,000 mappings."""

MAX_PACKET = 1 << 16
"""Bytes of a job or an answer, as JSON; pixels and profiles travel in the memory file."""

_KEPT = (
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "PATH",
    "PYTHONHOME",
    "PYTHONPATH",
    "TZ",
    "VIRTUAL_ENV",
)


class HelperEnded(Exception):
    """A helper ended, or was ended, before it answered."""

    def __init__(self, status: int | None) -> None:
        named = signal.Signals(-status).name if status is not None and status < 0 else f"status {status}"
        super().__init__("no answer" if status is None else named)
        self.too_slow = status is None or status == -signal.SIGXCPU


@dataclass(frozen=True, slots=True)
class HelperFault:
    """What a helper found wrong with the bytes; that of a frame has no code."""

    text: str
    code: str | None


class Helper:
    """One helper process, up and ready.

    Raises
    ------
    OSError, HelperEnded
        When it cannot be started.
    """

    def __init__(self) -> None:
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "dicom_io.decoding.child", str(other.fileno())],
                pass_fds=[other.fileno()],
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # decoders print about hostile bytes, which may quote them
            )
        except BaseException:
            self._socket.close()
            raise
        finally:
            other.close()
        self.alive = True
        self._window: Window | None = None
        try:
            self._answer(_START_S)
        except BaseException:
            self.end()
            raise

    def ask(self, details: Mapping[str, Any], fd: int) -> dict[str, Any]:
        """Send a job and return its answer.

        Raises
        ------
        HelperEnded
        """
        with contextlib.suppress(OSError):  # if it is gone, its exit status is read below
            socket.send_fds(self._socket, [json.dumps(details).encode()], [fd])
        # The kernel ends a job by its processor time; this limit by the clock is for one that never runs.
        return self._answer(20.0 + 10 * details["cpu_s"])

    def window(self, size: int) -> Window:
        """Return memory of at least ``size`` bytes that stays shared with the helper from job to job."""
        if self._window is None or self._window.size < size:
            self._window = Window(size)
        return self._window

    def _answer(self, seconds: float) -> dict[str, Any]:
        self._socket.settimeout(seconds)
        try:
            packet = self._socket.recv(MAX_PACKET)
        except TimeoutError:
            raise HelperEnded(None) from None
        except OSError:
            packet = b""
        if not packet:
            self.alive = False
            raise HelperEnded(self._process.wait(_START_S))
        answer: dict[str, Any] = json.loads(packet)
        return answer

    def is_running(self) -> bool:
        """Return whether the process has not ended."""
        return self._process.poll() is None

    def end(self) -> None:
        """End the process at once."""
        self.alive = False
        self._process.kill()
        self._process.wait()
        self._socket.close()


def start_helper() -> Helper:
    """Start a helper; once more where the first one ended, which may have been killed from outside.

    Raises
    ------
    OSError, HelperEnded
    """
    try:
        return Helper()
    except HelperEnded as ended:
        if ended.too_slow:
            raise
    return Helper()


class Window:
    """Memory that a helper writes the pixels of one job after the other to.

    Memory that is new for each job costs more than copying from one that is not: the system clears each page
    of it, and both processes fault it in.

    Attributes
    ----------
    number:
        Names it to its helper, which maps it once.
    fd, size:
        The memory file, and its bytes.
    """

    _numbers = itertools.count()

    def __init__(self, size: int) -> None:
        self.number, self.size = next(self._numbers), size
        self.fd = _sealed(size)
        self._mapped = np.frombuffer(mmap.mmap(self.fd, size), np.uint8)

    def __del__(self) -> None:
        os.close(self.fd)

    def copies(self, shape: tuple[int, ...]) -> list[UInt8Array]:
        """Return what it begins with, an array for each index of the first axis."""
        return [part.copy() for part in self._mapped[: math.prod(shape)].reshape(shape)]


class JobMemory:
    """A memory file with a job's bytes, and room for what they decode to.

    Attributes
    ----------
    out:
        Offset at which the result begins.
    """

    def __init__(self, fd: int, out: int) -> None:
        self.fd, self.out = fd, out

    def result(self, answer: Mapping[str, Any]) -> tuple[UInt8Array, bytes | None]:
        """Return the pixels, uint8 ``[height, width, channels]``, and the ICC profile."""
        mapping = mmap.mmap(self.fd, 0)
        mapped = np.frombuffer(mapping, np.uint8)
        shape = tuple(int(length) for length in answer["shape"])
        end = self.out + int(np.prod(shape))
        pixels = mapped[self.out : end].reshape(shape)
        length = answer["profile"]
        profile = None if length is None else mapped[end : end + int(length)].tobytes()
        # The array keeps the whole file alive; pages before and after it would be held but counted nowhere.
        behind = -(-end // mmap.PAGESIZE) * mmap.PAGESIZE
        for start, stop in ((0, self.out), (behind, len(mapping))):
            if start < stop:
                mapping.madvise(mmap.MADV_REMOVE, start, stop - start)
        return pixels.copy() if pixels.nbytes < _COPIED_BELOW else pixels, profile


@contextlib.contextmanager
def memory_of(data: bytes, room: int) -> Iterator[JobMemory]:
    """Make a memory file for a job, for a ``with`` block; mappings of it outlive the block.

    Parameters
    ----------
    room:
        Bytes for the result.
    """
    out = -(-len(data) // mmap.PAGESIZE) * mmap.PAGESIZE
    fd = _sealed(max(out + room, 1))
    try:
        view, at = memoryview(data), 0
        while at < len(data):
            at += os.pwrite(fd, view[at:], at)
        yield JobMemory(fd, out)
    finally:
        os.close(fd)


def _sealed(size: int) -> int:
    """Return a memory file of a size that nobody can change."""
    fd = os.memfd_create("pathserve-decode", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, size)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _environment() -> dict[str, str]:
    """Return the part of the environment that a helper needs: no keys and no tokens."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    # Large blocks are mapped, so they go back to the system at once; one thread needs one arena.
    return kept | {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
