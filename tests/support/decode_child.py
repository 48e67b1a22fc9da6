"""Decoding hostile bytes in a process that may die of them."""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

from dicom_io.codecs.frame import decode_frame
from dicom_io.codecs.frame_format import FrameError, FrameFormat
from dicom_io.codecs.raster import RasterFile
from dicom_io.errors import ImageError
from tests.support.tissue import UInt8Array

PATIENCE_S = 20
MAX_PIXELS = 4_000_000


class Died(Exception):
    """The process died of what it was given, or did not come to an end with it."""


class DecodeChild:
    """A process that decodes one image after the other, and is started anew when it dies.

    Attributes
    ----------
    deaths:
        How often it died.
    """

    def __init__(self) -> None:
        self.deaths = 0
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other,), daemon=True)
        self._process.start()
        other.close()

    def frame(self, data: bytes, syntax: str, form: FrameFormat) -> UInt8Array | None:
        """Return a frame's pixels, ``None`` where it is refused as damaged."""
        return self._ask((data, syntax, form))

    def image(self, data: bytes) -> UInt8Array | None:
        """Return an image file's pixels, ``None`` where it is refused."""
        return self._ask((data, None, None))

    def _ask(self, question: tuple[Any, ...]) -> UInt8Array | None:
        try:
            self._pipe.send(question)
            if not self._pipe.poll(PATIENCE_S):
                raise EOFError
            found: UInt8Array | None = self._pipe.recv()
        except (EOFError, OSError) as error:
            self.deaths += 1
            self.close()
            self._start()
            raise Died from error
        return found

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join(PATIENCE_S)
        self._pipe.close()

    def __enter__(self) -> DecodeChild:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _serve(pipe: Connection) -> None:
    while True:
        try:
            data, syntax, form = pipe.recv()
        except EOFError:
            return
        try:
            if syntax:
                pipe.send(decode_frame(data, syntax, form))
            else:
                pipe.send(RasterFile(data, MAX_PIXELS).decode().pixels)
        except (FrameError, ImageError):
            pipe.send(None)
