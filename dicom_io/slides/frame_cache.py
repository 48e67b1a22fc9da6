"""Frames of slides, each fetched once and decoded once for all requests of a process that need it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from dicom_io.cache import LeastRecentlyUsed
from dicom_io.codecs.frame_format import FrameFormat
from dicom_io.errors import ImageFault
from dicom_io.geometry import UInt8Array
from dicom_io.slides.frame_sizes import FrameSizes

K = TypeVar("K", bound=Hashable)

FRAME_OVERHEAD = 2048
"""Bytes that a cached frame takes besides its pixels: its key, its lock, its future."""


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """A frame as the store sent it, and its transfer syntax."""

    data: bytes
    syntax: str


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """A frame whose pixels came as such, uint8 ``[height, width, samples]``."""

    pixels: UInt8Array


DecodeFrame = Callable[[bytes, str, FrameFormat], UInt8Array]
"""Decodes the bytes of a frame of a transfer syntax; raises FrameError."""


class SharedFrame:
    """A frame that is fetched once and decoded once, for all patches and requests that need it.

    Parameters
    ----------
    changed:
        Called with the frame when ``encoded_bytes`` may have changed.

    Attributes
    ----------
    fetched:
        The frame as it was sent; once it has been decoded, its pixels. Or the fault for which it did not
        come: a value, as an exception would hold whoever waited for it, and all that they fetched.
    failed:
        Whether fetching it came to nothing.
    encoded_bytes:
        Bytes of the frame as it was sent, while they are held.
    syntax:
        The transfer syntax that it has been decoded from; ``None`` where its pixels came as such.
    """

    def __init__(self, decode: DecodeFrame, changed: Callable[[SharedFrame], None]) -> None:
        self.failed = False
        self.encoded_bytes = 0
        self.syntax: str | None = None
        self.fetched: Future[EncodedFrame | DecodedFrame | ImageFault] = Future()
        self.fetched.add_done_callback(self._arrived)
        self._decode = decode
        self._changed = changed
        self._lock = threading.Lock()
        self._pixels: UInt8Array | None = None

    def pixels(self, form: FrameFormat) -> UInt8Array:
        """Return the decoded frame, uint8 ``[height, width, samples]``; it must have been fetched.

        Raises
        ------
        FrameError
        """
        if (decoded := self._pixels) is not None:
            return decoded  # as mostly, for each of the patches that share it
        # Decoded under the lock: a second thread waits for the pixels instead of decoding them again.
        with self._lock:
            if self._pixels is None:
                came = self.fetched.result(0)
                assert not isinstance(came, ImageFault)
                pixels = (
                    came.pixels
                    if isinstance(came, DecodedFrame)
                    else self._decode(came.data, came.syntax, form)
                )
                pixels.flags.writeable = False
                self.syntax = came.syntax if isinstance(came, EncodedFrame) else None
                self._pixels = pixels
                # The encoded bytes have no use any more. Whoever fetches for another request may look at this
                # at any moment, and gives up what has not come: there must always be a result.
                without_bytes: Future[EncodedFrame | DecodedFrame | ImageFault] = Future()
                without_bytes.set_result(DecodedFrame(pixels))
                self.fetched, self.encoded_bytes = without_bytes, 0
                self._changed(self)
            return self._pixels

    def _arrived(self, fetched: Future[EncodedFrame | DecodedFrame | ImageFault]) -> None:
        came = None if fetched.cancelled() or fetched.exception() is not None else fetched.result()
        if isinstance(came, EncodedFrame):
            self.encoded_bytes = len(came.data)
        self.failed = came is None or isinstance(came, ImageFault)
        self._changed(self)


class FrameCache(Generic[K]):
    """Frames by their key, for a time, up to a number of bytes: all that each takes, encoded or decoded.

    A frame that is dropped here lives on in the requests that still use it. A frame's life is that of a
    slide's metadata, so that a token which was revoked reads no frames longer than metadata.

    Parameters
    ----------
    decode:
        Decodes a frame, once, when its pixels are first wanted.

    Attributes
    ----------
    sizes:
        How many bytes the frames have come in.
    """

    def __init__(
        self,
        max_bytes: int,
        decode: DecodeFrame,
        life_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sizes = FrameSizes()
        self._decode = decode
        # Lock order: a frame's own lock may be held when this one is taken (``_recount``), never the reverse.
        self._lock = threading.Lock()
        self._frames: LeastRecentlyUsed[K, SharedFrame] = LeastRecentlyUsed(max_bytes, life_s, clock)

    @property
    def held_bytes(self) -> int:
        """Bytes that all frames count for; frames being fetched count with their decoded size."""
        return self._frames.cost

    def __len__(self) -> int:
        return len(self._frames)

    def claim(self, keys: Sequence[K], size: int) -> tuple[list[SharedFrame], list[int]]:
        """Return a frame for each key, and the positions of those that the caller must now fetch.

        Parameters
        ----------
        keys:
            Each once.
        size:
            Bytes of each frame once decoded.
        """
        with self._lock:
            # All that are here first: making room for a new one must not drop one that is claimed beside it.
            here = [self._frames.get(key) for key in keys]
            frames = [frame or self._add(key, size) for key, frame in zip(keys, here, strict=True)]
        return frames, [position for position, frame in enumerate(here) if frame is None]

    def forget(self, key: K, frame: SharedFrame) -> None:
        """Drop a frame that could not be fetched or decoded."""
        with self._lock:
            self._frames.drop(key, frame)

    def _add(self, key: K, size: int) -> SharedFrame:
        frame = SharedFrame(self._decode, partial(self._recount, key, size + FRAME_OVERHEAD))
        self._frames.put(key, frame, size + FRAME_OVERHEAD)
        return frame

    def _recount(self, key: K, decoded: int, frame: SharedFrame) -> None:
        """Count the encoded bytes of a frame from its arrival until it has been decoded."""
        with self._lock:
            self._frames.recount(key, frame, decoded + frame.encoded_bytes)
