"""How many requests a store is sent at the same time."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Hashable, Iterator

from dicom_io.errors import ImageCode, ImageError


class AtOnce:
    """Holds the requests in flight to each origin to a number; safe for many threads.

    A service has none: its threads bound it well enough. Where many processes read one store, each is to
    have a share of what the store can bear, and no more than that.

    Parameters
    ----------
    most:
        Requests in flight to one origin; ``None`` holds nothing back.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._free: dict[Hashable, threading.Semaphore] = {}

    @contextlib.contextmanager
    def at(self, origin: Hashable, deadline: float) -> Iterator[None]:
        """Wait for a turn, and have it for a ``with`` block.

        Parameters
        ----------
        deadline:
            ``time.monotonic()`` seconds.

        Raises
        ------
        ImageError
            HTTP_ERROR when there is none until the deadline.
        """
        if self._most is None:
            yield
            return
        with self._lock:
            free = self._free.setdefault(origin, threading.Semaphore(self._most))
        if not free.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise ImageError(ImageCode.HTTP_ERROR, "The store is busy with other requests of this process.")
        try:
            yield
        finally:
            free.release()
