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
import logging
import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

from dicom_io.codecs.frame import decode_frame_here
from dicom_io.codecs.frame_format import FrameError, FrameFormat
from dicom_io.codecs.raster import Raster, RasterFile
from dicom_io.decoding.helper import HelperEnded, HelperFault, JobMemory, memory_of
from dicom_io.decoding.helpers import WAIT_S, Helpers, no_helper
from dicom_io.decoding.slide_jobs import SlideFault
from dicom_io.errors import ImageCode, ImageError
from dicom_io.geometry import UInt8Array

HELPERS = 2
"""Most helper processes of an HTTP worker; each is started when it is first needed."""

_MOST_FOR_SLIDES = 16
"""Most helper processes where slides are read, which OpenSlide does in all cores at once."""

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

T = TypeVar("T")


class Undecodable(Exception):
    """A helper died twice on the same bytes, or they took too long; the text tells which."""


class DecodePool:
    """Decodes images and frames: safe ones in this process, all others in helpers. Safe for many threads.

    Parameters
    ----------
    helpers:
        Most helper processes; for regions of slides as many as the process may use cores, if that is more.
    """

    def __init__(self, helpers: int = HELPERS) -> None:
        self._most = helpers
        self._most_for_slides = max(helpers, min(_MOST_FOR_SLIDES, len(os.sched_getaffinity(0))))
        self._helpers = Helpers()
        self._long = threading.Semaphore(max(1, helpers - 1))

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
        if (decoded := decode_frame_here(data, syntax, form)) is not None:
            return decoded
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

    def regions(self, job: dict[str, Any], shape: tuple[int, int, int, int]) -> list[UInt8Array]:
        """Have regions of a slide read; see ``slide_jobs.SlideFile``.

        Parameters
        ----------
        shape:
            Number, height, width and samples of the regions.

        Raises
        ------
        SlideFault
        ImageError
            INTERNAL_ERROR when no helper is available.
        """
        details = {**job, "cpu_s": _SLIDE_CPU_S, "memory": _SLIDE_MEMORY + math.prod(shape)}
        try:
            answer = _twice(partial(self._look, details, shape))
        except Undecodable as error:
            raise SlideFault(str(error)) from None
        if isinstance(answer, HelperFault):
            raise SlideFault(answer.text)
        return answer

    @property
    def healthy(self) -> bool:
        """Whether helpers can be started, and nothing has been waiting unreasonably long for one."""
        return self._helpers.healthy

    def close(self) -> None:
        """End the helpers."""
        self._helpers.close()

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
            return _twice(partial(self._attempt, memory, details))

    @contextlib.contextmanager
    def _turn(self, cpu_s: int) -> Iterator[None]:
        """Keep long jobs from occupying all helpers, where there are several."""
        if cpu_s <= _LONG_S:
            yield
            return
        if not self._long.acquire(timeout=WAIT_S):
            log.error("no decoding helper became free for a large image in time")
            raise no_helper()
        try:
            yield
        finally:
            self._long.release()

    def _attempt(
        self, memory: JobMemory, details: Mapping[str, Any]
    ) -> tuple[UInt8Array, bytes | None] | HelperFault | HelperEnded:
        try:
            with self._helpers.lend(self._most) as helper:
                answer = helper.ask(details, memory.fd)
        except HelperEnded as ended:
            return ended
        if "fault" in answer:
            return HelperFault(str(answer["fault"]), answer.get("code"))
        return memory.result(answer)

    def _look(
        self, details: Mapping[str, Any], shape: tuple[int, int, int, int]
    ) -> list[UInt8Array] | HelperFault | HelperEnded:
        """Have regions read into the memory that is shared with a helper, and copy them from there."""
        try:
            with self._helpers.lend(self._most_for_slides) as helper:
                window = helper.window(math.prod(shape))
                answer = helper.ask({**details, "window": window.number}, window.fd)
                if "fault" in answer:
                    return HelperFault(str(answer["fault"]), None)
                return window.copies(shape)  # while the helper has no other job
        except HelperEnded as ended:
            return ended


def _twice(attempt: Callable[[], T | HelperFault | HelperEnded]) -> T | HelperFault:
    """Return what an attempt gives; a second one's, in another helper, where the first one's ended.

    Raises
    ------
    Undecodable
    """
    ended = attempt()
    if isinstance(ended, HelperEnded) and not ended.too_slow:
        # It may have been killed from outside, by the OOM killer say: once more, in another process.
        ended = attempt()
    if not isinstance(ended, HelperEnded):
        return ended
    log.warning("bytes that end their decoder", extra={"reason": str(ended)})
    if ended.too_slow:
        raise Undecodable("it takes longer to decode than an image of its size should")
    raise Undecodable(f"its decoder dies on it ({ended})")
