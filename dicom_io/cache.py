"""Caches with a size and an owner.

Their keys carry a token's fingerprint: what one caller's token fetched, another caller never sees.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from dicom_io.codecs.frame_format import FrameFormat
from dicom_io.geometry import UInt8Array

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SharedCache(Generic[K, V]):
    """Values that are made once, while others who want the same value wait for it.

    Parameters
    ----------
    max_cost:
        Sum of the costs that are kept; the least recently used value goes first.
    life_s:
        Seconds after which a value is made anew, and let go of when the next one is made.
    """

    def __init__(self, max_cost: int, life_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_cost = max_cost
        self._life_s = life_s
        self._clock = clock
        self._lock = threading.Lock()
        self._making: dict[K, Future[V]] = {}
        self._values: OrderedDict[K, tuple[V, int, float]] = OrderedDict()
        self._cost = 0

    def get(self, key: K, make: Callable[[], tuple[V, int]], timeout_s: float) -> V:
        """Return a value, made now by ``make`` (value, cost) unless it is there or being made.

        A failure is not kept: who waited for a maker that failed tries it in its own right.

        Raises
        ------
        TimeoutError
            When another maker took longer than ``timeout_s``.
        Exception
            Whatever ``make`` raises.
        """
        with self._lock:
            if (value := self._fresh(key)) is not None:
                return value[0]
            waiting = self._making.get(key)
            if waiting is None:
                mine: Future[V] = Future()
                self._making[key] = mine
        if waiting is not None:
            try:
                return waiting.result(timeout_s)
            except _MakerFailed:
                return self.get(key, make, timeout_s)
        return self._make(key, make, mine)

    def _make(self, key: K, make: Callable[[], tuple[V, int]], future: Future[V]) -> V:
        try:
            value, cost = make()
        except BaseException:
            with self._lock:
                del self._making[key]
            # Not the error itself: its frames would be kept, and what they hold, by those who wait.
            future.set_exception(_MakerFailed())
            raise
        with self._lock:
            del self._making[key]
            self._sweep()
            self._drop(key)
            if cost <= self._max_cost:
                self._values[key] = (value, cost, self._clock())
                self._cost += cost
            while self._cost > self._max_cost:
                self._drop(next(iter(self._values)))
        future.set_result(value)
        return value

    def _sweep(self) -> None:
        born_after = self._clock() - self._life_s
        for key in [key for key, (_, _, made) in self._values.items() if made < born_after]:
            self._drop(key)

    def _fresh(self, key: K) -> tuple[V] | None:
        if key not in self._values:
            return None
        value, _, made = self._values[key]
        if self._clock() - made > self._life_s:
            self._drop(key)
            return None
        self._values.move_to_end(key)
        return (value,)

    def _drop(self, key: K) -> None:
        if key in self._values:
            self._cost -= self._values.pop(key)[1]


class _MakerFailed(Exception):
    """Another caller's attempt to make a value failed."""


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """A frame as the store sent it, and its transfer syntax."""

    data: bytes
    syntax: str


DecodeFrame = Callable[[bytes, str, FrameFormat], UInt8Array]
"""Decodes the bytes of a frame of a transfer syntax; raises FrameError."""

FRAME_OVERHEAD = 2048
"""Bytes that a cached frame takes besides its pixels: its key, its lock, its future."""


class SharedFrame:
    """A frame that is fetched once and decoded once, for all patches and requests that need it.

    Parameters
    ----------
    changed:
        Called when ``encoded_bytes`` may have changed.

    Attributes
    ----------
    fetched:
        The frame as it was sent; once it has been decoded, a frame without bytes.
    """

    def __init__(self, decode: DecodeFrame, changed: Callable[[], None]) -> None:
        self.fetched: Future[EncodedFrame] = Future()
        self.fetched.add_done_callback(lambda _: changed())
        self._decode = decode
        self._changed = changed
        self._lock = threading.Lock()
        self._pixels: UInt8Array | None = None

    def pixels(self, form: FrameFormat) -> UInt8Array:
        """Return the decoded frame; it must have been fetched.

        Raises
        ------
        FrameError
        """
        with self._lock:
            if self._pixels is None:
                encoded = self.fetched.result(0)
                pixels = self._decode(encoded.data, encoded.syntax, form)
                pixels.flags.writeable = False
                self._pixels = pixels
                self.fetched = Future()  # the encoded bytes have no use any more
                self.fetched.set_result(EncodedFrame(b"", encoded.syntax))
                self._changed()
            return self._pixels

    @property
    def failed(self) -> bool:
        """Whether fetching it came to nothing."""
        return self.fetched.done() and self.fetched.exception() is not None

    @property
    def encoded_bytes(self) -> int:
        """Bytes of the frame as it was sent, while they are held."""
        fetched = self.fetched
        return len(fetched.result().data) if fetched.done() and fetched.exception() is None else 0


@dataclass(slots=True)
class _Kept:
    """A frame, the bytes it takes once decoded and while it is not, and since when it is here."""

    frame: SharedFrame
    decoded: int
    encoded: int
    since: float

    @property
    def cost(self) -> int:
        return self.decoded + self.encoded


class FrameCache(Generic[K]):
    """Frames by their key, for a time, up to a number of bytes: all that each takes, encoded or decoded.

    A frame that is dropped here lives on in the requests that still use it. A frame's life is that of a
    slide's metadata, so that a token which was revoked reads no frames longer than metadata.

    Parameters
    ----------
    decode:
        Decodes a frame, once, when its pixels are first wanted.
    """

    def __init__(
        self,
        max_bytes: int,
        decode: DecodeFrame,
        life_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_bytes = max_bytes
        self._decode = decode
        self._life_s = life_s
        self._clock = clock
        self._bytes = 0
        self._swept = clock()
        self._lock = threading.RLock()  # a frame that is there already is counted while it is claimed
        self._frames: OrderedDict[K, _Kept] = OrderedDict()

    def claim(self, keys: Sequence[K], size: int) -> tuple[list[SharedFrame], list[int]]:
        """Return a frame for each key, and the positions of those that the caller must now fetch.

        Parameters
        ----------
        size:
            Bytes of each frame once decoded.
        """
        frames, mine = [], []
        now = self._clock()
        with self._lock:
            self._sweep(now)
            for position, key in enumerate(keys):
                kept = self._frames.get(key)
                if kept is None or now - kept.since > self._life_s:
                    self._drop(key)
                    kept = self._add(key, size, now)
                    mine.append(position)
                else:
                    self._frames.move_to_end(key)
                frames.append(kept.frame)
            self._evict()
        return frames, mine

    def forget(self, key: K, frame: SharedFrame) -> None:
        """Drop a frame that could not be fetched or decoded."""
        with self._lock:
            if key in self._frames and self._frames[key].frame is frame:
                self._drop(key)

    def _add(self, key: K, size: int, now: float) -> _Kept:
        kept = _Kept(
            SharedFrame(self._decode, lambda: self._recount(key, kept)), size + FRAME_OVERHEAD, 0, now
        )
        self._frames[key] = kept
        self._bytes += kept.cost
        return kept

    def _recount(self, key: K, kept: _Kept) -> None:
        """Count the encoded bytes of a frame from its arrival until it has been decoded."""
        with self._lock:
            if self._frames.get(key) is kept:
                self._bytes -= kept.cost
                kept.encoded = kept.frame.encoded_bytes
                self._bytes += kept.cost
                self._evict()

    def _evict(self) -> None:
        while self._bytes > self._max_bytes and len(self._frames) > 1:
            self._drop(next(iter(self._frames)))

    def _sweep(self, now: float) -> None:
        """Let go of frames that nobody has asked for since their life ended; at most once a life."""
        if now - self._swept > self._life_s:
            self._swept = now
            for key in [key for key, kept in self._frames.items() if now - kept.since > self._life_s]:
                self._drop(key)

    def _drop(self, key: K) -> None:
        if (kept := self._frames.pop(key, None)) is not None:
            self._bytes -= kept.cost
