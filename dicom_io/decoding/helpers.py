"""The helper processes of a worker: started when they are first needed, one job at a time each."""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Iterator

from dicom_io.decoding.helper import Helper, HelperEnded, start_helper
from dicom_io.errors import ImageCode, ImageError

WAIT_S = 120.0
"""Longest wait for a free helper; a job itself has far stricter bounds."""

_STUCK_S = 60.0
_BAD_STARTS = 3

log = logging.getLogger(__name__)


def no_helper() -> ImageError:
    """Return the error for when no helper is available: the service is at fault, not the bytes."""
    return ImageError(
        ImageCode.INTERNAL_ERROR, "No decoder is available for this image at the moment; try again."
    )


class Helpers:
    """Helper processes, each lent to one job at a time. Safe for many threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._idle: list[Helper] = []
        self._running: set[Helper] = set()
        self._count = 0  # idle, running, and those that are being started
        self._waiting: dict[int, float] = {}
        self._tickets = itertools.count()
        self._bad_starts = 0
        self._closed = False

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

    @contextlib.contextmanager
    def lend(self, most: int) -> Iterator[Helper]:
        """Lend a helper for a ``with`` block; one that fails in it is ended.

        Parameters
        ----------
        most:
            A new process is started only while there are fewer.

        Raises
        ------
        ImageError
            INTERNAL_ERROR when none is to be had.
        """
        helper = self._take(most)
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

    def _take(self, most: int) -> Helper:
        ticket, until = next(self._tickets), time.monotonic() + WAIT_S
        with self._changed:
            self._waiting[ticket] = time.monotonic()
            try:
                self._drop_ended()
                while not self._idle and self._count >= most:
                    if not self._changed.wait(until - time.monotonic()):
                        log.error("no decoding helper became free in time")
                        raise no_helper()
                if self._closed:
                    raise no_helper()
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
            raise no_helper() from None
        with self._changed:
            self._bad_starts = 0
            if not self._closed:
                self._running.add(helper)
                return helper
            self._count -= 1
        helper.end()  # the pool was closed meanwhile, and could not end a helper it did not know
        raise no_helper()
