"""The waits of a request's own thread."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import Future
from typing import TypeVar

from dicom_io.made_of import Reading
from dicom_io.reading import OpenedImage, PatchTask
from dicom_io.waiting import Cancellation, Cancelled
from model.transport.stream import Abandoned, DeadlineExceeded

R = TypeVar("R")


class Waits:
    """Translates what ends the waits for images to what ends a request.

    Raises
    ------
    Abandoned
        When nobody waits for the request any more.
    DeadlineExceeded
    """

    def __init__(self, cancellation: Cancellation) -> None:
        self._cancellation = cancellation
        self.deadline = cancellation.deadline

    def result(self, future: Future[R]) -> R:
        """Return a future's result."""
        with _ending_the_request():
            return self._cancellation.result(future)

    def require_time(self) -> None:
        """Raise where the waits have ended: between steps that wait for nothing."""
        with _ending_the_request():
            self._cancellation.require_time()

    def until_ready(self, task: PatchTask) -> None:
        """Wait until a task can be run; see ``PatchTask.wait``."""
        if not task.ready():
            with _ending_the_request():
                task.wait()

    def reading_of(self, image: OpenedImage) -> Reading:
        """Return what an image's patches have been made of; see ``OpenedImage.reading``."""
        with _ending_the_request():
            return image.reading()


@contextlib.contextmanager
def _ending_the_request() -> Iterator[None]:
    try:
        yield
    except Cancelled:
        raise Abandoned from None
    except TimeoutError:
        raise DeadlineExceeded from None
