"""How fast this process has embedded lately: what an estimate of seconds rests on."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from dicom_io.sources.session import Source
from serving.errors import Fault
from serving.pipeline.types import Item

REQUESTS = 64
"""Requests of each kind of source that are remembered."""

LATELY_S = 3600.0
"""After this a request no longer says how fast the service is."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What has been measured.

    Attributes
    ----------
    patches_per_second:
        Over the requests together, from each one's opening of images to its last vector.
    requests:
        How many there were.
    is_alike:
        Whether all of them were of the kind of source that was asked about.
    """

    patches_per_second: float
    requests: int
    is_alike: bool


@dataclass(frozen=True, slots=True)
class _Request:
    ended: float
    patches: int
    seconds: float


class Speed:
    """Remembers the last requests, by the kind of source that all their instances have. For many threads.

    A slide is fetched frame by frame, a picture comes whole with its request: how fast the one is says little
    about the other, but more than nothing.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._requests: dict[type[Source] | None, deque[_Request]] = defaultdict(
            partial(deque, maxlen=REQUESTS)
        )

    def add(self, items: Sequence[Item], patches: int, seconds: float) -> None:
        """Remember a request that has been answered.

        Parameters
        ----------
        patches:
            Those that were embedded.
        """
        kinds = {type(item.source) for item in items if not isinstance(item, Fault)}
        if patches:
            kind = kinds.pop() if len(kinds) == 1 else None
            with self._lock:
                self._requests[kind].append(_Request(self._clock(), patches, seconds))

    def pace(self, source: Source) -> Pace | None:
        """Return how fast this kind of source has been embedded lately, else all; ``None`` for none."""
        since = self._clock() - LATELY_S
        with self._lock:
            lately = {
                kind: [one for one in requests if one.ended > since]
                for kind, requests in self._requests.items()
            }
        alike = lately.get(type(source))
        requests = alike or [one for some in lately.values() for one in some]
        seconds = sum(one.seconds for one in requests)
        if seconds <= 0:
            return None
        return Pace(sum(one.patches for one in requests) / seconds, len(requests), bool(alike))
