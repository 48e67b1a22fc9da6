"""Decoding in helper processes, so that hostile bytes cost their own instance and nothing else.

Decoders are native code. Those of JPEG 2000, HTJ2K, JPEG-LS, RLE, JPEG XL, TIFF and WebP have crashed, hung
and asked for gigabytes when given bytes made for it, and such a crash ends every request of its process.
Baseline JPEG and PNG, which most patches come in, are decoded in this process: their decoders are simple and
well tested, and the trip to another process would double their cost.

A helper decodes one thing at a time. Pixels come back through a memory file that is sealed against
shrinking: a compromised helper cannot take away pages that this process has mapped.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from dicom_io.codecs.frame import decode_frame, decodes_in_process
from dicom_io.codecs.frame_format import FrameError, FrameFormat
from dicom_io.codecs.raster import Raster, RasterFile
from dicom_io.decoding.helper import Helper, HelperEnded, HelperFault, JobMemory, memory_of, start_helper
from dicom_io.decoding.slide_jobs import SlideFault
from dicom_io.errors import ImageCode, ImageError
from dicom_io.geometry import UInt8Array

HELPERS = 2
"""Most helper processes of an HTTP worker; each is started when it is first needed."""

_WAIT_S = 120.0
"""Longest wait for a free helper; a job itself has far stricter bounds."""

_STUCK_S = 60.0
_BAD_STARTS = 3

_CPU_S = 2
_CPU_S_PER_MEGAPIXEL = 2
"""Several times what the slowest decoder, lossless JPEG 2000, was measured to take; 2.6 times for noise."""

_LONG_S = 34
"""Jobs that may take more processor time, images of over 16 megapixels, leave one helper to the others."""

_MEMORY = 256 << 20
_MEMORY_PER_PIXEL = 64
"""Bytes: JPEG 2000 keeps coefficients and samples of 4 bytes each, of up to four channels, and a copy."""

_PROFILE_BYTES = 16 << 20


_SLIDE_CPU_S = 30
_SLIDE_MEMORY = 1 << 30
"""Bounds of a job about a slide's file: opening one reads thousands of files or directories of tiles."""

log = logging.getLogger(__name__)


class Undecodable(Exception):
    """A helper died twice on the same bytes, or they took too long; the text tells which."""


def _no_helper() -> ImageError:
    """Return the error for when no helper is available: the service is at fault, not the bytes."""
    return ImageError(
        ImageCode.INTERNAL_ERROR, "No decoder is available for this image at the moment; try again."
    )


class DecodePool:
    """Decodes images and frames: safe ones in this process, all others in helpers. Safe for many threads.

    Parameters
    ----------
    helpers:
        Most helper processes.
    """

    def __init__(self, helpers: int = HELPERS) -> None:
        self._most = helpers
        self._long = threading.Semaphore(max(1, helpers - 1))
        self._changed = threading.Condition()
        self._idle: list[Helper] = []
        self._running: set[Helper] = set()
        self._count = 0  # idle, running, and those that are being started
        self._waiting: dict[int, float] = {}
        self._tickets = itertools.count()
        self._bad_starts = 0
        self._closed = False

    def image(
        self, file: RasterFile, data: bytes, max_pixels: int, place: UInt8Array | None = None
    ) -> Raster:
        """Decode an image whose header has been read.

        Parameters
        ----------
        data, max_pixels:
            What ``file`` was opened with.
        place:
            Where the pixels are to be, if that is possible; see ``RasterFile.decode``.

        Raises
        ------
        ImageError
            IMAGE_ERROR when it is damaged or kills its decoder; INTERNAL_ERROR when no helper is available.
        """
        if file.in_process:
            return file.decode(place)
        pixels = file.width * file.height
        try:
            answer = self._run(data, 4 * pixels + _PROFILE_BYTES, pixels, {"max_pixels": max_pixels})
        except Undecodable as error:
            raise ImageError(
                ImageCode.IMAGE_ERROR, f"The image cannot be decoded: {error}. Send it in another format."
            ) from None
        if isinstance(answer, HelperFault):
            raise ImageError(ImageCode(answer.code or ImageCode.IMAGE_ERROR), answer.text)
        return Raster(*answer)

    def frame(self, data: bytes, syntax: str, form: FrameFormat) -> UInt8Array:
        """Decode a frame as ``decode_frame`` does.

        Raises
        ------
        FrameError
        ImageError
            INTERNAL_ERROR when no helper is available.
        """
        if decodes_in_process(data, syntax):
            return decode_frame(data, syntax, form)
        parts = [form.width, form.height, form.samples, form.photometric, form.planar]
        try:
            answer = self._run(
                data, form.decoded_bytes, form.width * form.height, {"frame": parts, "syntax": syntax}
            )
        except Undecodable as error:
            raise FrameError(str(error)) from None
        if isinstance(answer, HelperFault):
            raise FrameError(answer.text)
        return answer[0]

    def slide(self, job: dict[str, Any], room: int) -> tuple[UInt8Array, bytes]:
        """Have a job about a slide's file done; see ``slide_jobs.SlideFile``.

        Parameters
        ----------
        room:
            Bytes, at most, of the answer.

        Raises
        ------
        SlideFault
        ImageError
            INTERNAL_ERROR when no helper is available.
        """
        bounds = {"cpu_s": _SLIDE_CPU_S, "memory": _SLIDE_MEMORY + room}
        try:
            answer = self._bounded(b"", room, {**job, **bounds})
        except Undecodable as error:
            raise SlideFault(str(error)) from None
        if isinstance(answer, HelperFault):
            raise SlideFault(answer.text)
        return answer[0], answer[1] or b""

    @property
    def healthy(self) -> bool:
        """Whether helpers can be started, and nothing has been waiting unreasonably long for one."""
        with self._changed:
            oldest = min(self._waiting.values(), default=time.monotonic())
            return self._bad_starts < _BAD_STARTS and time.monotonic() - oldest < _STUCK_S

    def close(self) -> None:
        """End the helpers."""
        with self._changed:
            self._closed = True
            helpers, self._idle = [*self._idle, *self._running], []
        for helper in helpers:
            helper.end()

    def _run(
        self, data: bytes, room: int, pixels: int, job: Mapping[str, Any]
    ) -> tuple[UInt8Array, bytes | None] | HelperFault:
        bounds = {
            "cpu_s": _CPU_S + _CPU_S_PER_MEGAPIXEL * pixels // 1_000_000,
            "memory": _MEMORY + _MEMORY_PER_PIXEL * pixels + len(data) + room,
        }
        with self._turn(bounds["cpu_s"]):
            return self._bounded(data, room, {**job, **bounds})

    def _bounded(
        self, data: bytes, room: int, job: Mapping[str, Any]
    ) -> tuple[UInt8Array, bytes | None] | HelperFault:
        """Have a job done that carries its bounds."""
        with memory_of(data, room) as memory:
            details = {**job, "length": len(data), "out": memory.out}
            ended = self._attempt(memory, details)
            if isinstance(ended, HelperEnded) and not ended.too_slow:
                # It may have been killed from outside, by the OOM killer say: once more, in another process.
                ended = self._attempt(memory, details)
            if not isinstance(ended, HelperEnded):
                return ended
            log.warning("bytes that end their decoder", extra={"reason": str(ended)})
            if ended.too_slow:
                raise Undecodable("it takes longer to decode than an image of its size should")
            raise Undecodable(f"its decoder dies on it ({ended})")

    @contextlib.contextmanager
    def _turn(self, cpu_s: int) -> Iterator[None]:
        """Keep long jobs from occupying all helpers, where there are several."""
        if cpu_s <= _LONG_S:
            yield
            return
        if not self._long.acquire(timeout=_WAIT_S):
            log.error("no decoding helper became free for a large image in time")
            raise _no_helper()
        try:
            yield
        finally:
            self._long.release()

    def _attempt(
        self, memory: JobMemory, details: Mapping[str, Any]
    ) -> tuple[UInt8Array, bytes | None] | HelperFault | HelperEnded:
        try:
            with self._helper() as helper:
                answer = helper.ask(details, memory.fd)
        except HelperEnded as ended:
            return ended
        if "fault" in answer:
            return HelperFault(str(answer["fault"]), answer.get("code"))
        return memory.result(answer)

    @contextlib.contextmanager
    def _helper(self) -> Iterator[Helper]:
        helper = self._take()
        try:
            yield helper
        except BaseException:
            helper.end()
            raise
        finally:
            with self._changed:
                self._running.discard(helper)
                if helper.alive and not self._closed:
                    self._idle.append(helper)
                else:
                    self._count -= 1
                self._changed.notify()

    def _take(self) -> Helper:
        ticket, until = next(self._tickets), time.monotonic() + _WAIT_S
        with self._changed:
            self._waiting[ticket] = time.monotonic()
            try:
                self._drop_ended()
                while not self._idle and self._count >= self._most:
                    if not self._changed.wait(until - time.monotonic()):
                        log.error("no decoding helper became free in time")
                        raise _no_helper()
                if self._closed:
                    raise _no_helper()
            finally:
                del self._waiting[ticket]
            if self._idle:
                helper = self._idle.pop()
                self._running.add(helper)
                return helper
            self._count += 1
        return self._started()  # without the lock: it may take a second, while others return their helpers

    def _drop_ended(self) -> None:
        """Forget idle helpers that were killed from outside: a job sent to one would waste an attempt."""
        ended = [helper for helper in self._idle if not helper.is_running()]
        for helper in ended:
            helper.end()  # its socket is still open
            self._idle.remove(helper)
        self._count -= len(ended)

    def _started(self) -> Helper:
        try:
            helper = start_helper()
        except BaseException as error:
            with self._changed:
                self._count -= 1
                self._bad_starts += 1
                self._changed.notify()
            if not isinstance(error, (OSError, HelperEnded)):
                raise
            log.error("a decoding helper cannot be started", extra={"reason": type(error).__name__})
            raise _no_helper() from None
        with self._changed:
            self._bad_starts = 0
            if not self._closed:
                self._running.add(helper)
                return helper
            self._count -= 1
        helper.end()  # the pool was closed meanwhile, and could not end a helper it did not know
        raise _no_helper()
