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

from dicom_io.frames import FrameFormat, decode_frame
from dicom_io.patches import UInt8Array

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SharedCache(Generic[K, V]):
    """Values that are made once, while others who want the same value wait for it.

    Parameters
    ----------
    max_cost:
        Sum of the costs that are kept; the least recently used value goes first.
    life_s:
        Seconds after which a value is made anew.
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
            except TimeoutError:
                raise
            except Exception:
                return self.get(key, make, timeout_s)
        return self._make(key, make, mine)

    def _make(self, key: K, make: Callable[[], tuple[V, int]], future: Future[V]) -> V:
        try:
            value, cost = make()
        except BaseException as error:
            with self._lock:
                del self._making[key]
            future.set_exception(error)
            raise
        with self._lock:
            del self._making[key]
            self._drop(key)
            if cost <= self._max_cost:
                self._values[key] = (value, cost, self._clock())
                self._cost += cost
            while self._cost > self._max_cost:
                self._drop(next(iter(self._values)))
        future.set_result(value)
        return value

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


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """A frame as the store sent it, and its transfer syntax."""

    data: bytes
    syntax: str


class SharedFrame:
    """A frame that is fetched once and decoded once, for all patches and requests that need it."""

    def __init__(self) -> None:
        self.fetched: Future[EncodedFrame] = Future()
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
                self._pixels = decode_frame(encoded.data, encoded.syntax, form)
                self._pixels.flags.writeable = False
            return self._pixels


class FrameCache(Generic[K]):
    """Frames by their key, up to a number of bytes once decoded.

    A frame that is dropped here lives on in the requests that still use it.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._lock = threading.Lock()
        self._frames: OrderedDict[K, tuple[SharedFrame, int]] = OrderedDict()

    def claim(self, keys: Sequence[K], size: int) -> tuple[list[SharedFrame], list[int]]:
        """Return a frame for each key, and the positions of those that the caller must now fetch.

        Parameters
        ----------
        size:
            Bytes of each frame once decoded.
        """
        frames, mine = [], []
        with self._lock:
            for position, key in enumerate(keys):
                if key in self._frames:
                    self._frames.move_to_end(key)
                else:
                    self._frames[key] = (SharedFrame(), size)
                    self._bytes += size
                    mine.append(position)
                frames.append(self._frames[key][0])
            while self._bytes > self._max_bytes and len(self._frames) > 1:
                self._bytes -= self._frames.popitem(last=False)[1][1]
        return frames, mine

    def forget(self, key: K, frame: SharedFrame) -> None:
        """Drop a frame that could not be fetched or decoded."""
        with self._lock:
            if key in self._frames and self._frames[key][0] is frame:
                self._bytes -= self._frames.pop(key)[1]
