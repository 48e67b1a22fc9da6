"""A value that several threads need and one of them makes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from dicom_io.errors import ImageError, ImageFault
from dicom_io.waiting import Cancellation

V = TypeVar("V")


class Once(Generic[V]):
    """Makes a value when it is first asked for; its failure is kept, too, and not tried again.

    Parameters
    ----------
    make:
        Called once, in the thread that asks first, and then let go of: it may hold what the value is made of.
    """

    def __init__(self, make: Callable[[], V]) -> None:
        self._lock = threading.Lock()
        self._make: Callable[[], V] | None = make
        # A fault is a result here, not an exception: an exception would hold the frames that it went
        # through, and by them an image's bytes, for as long as this object lives.
        self._made: Future[V | ImageFault] = Future()

    @property
    def done(self) -> bool:
        """Whether the value, or its failure, is there."""
        return self._made.done()

    def wait(self, waits: Cancellation) -> None:
        """Wait until another thread has made the value or failed; see ``Cancellation.result``."""
        waits.result(self._made)

    def get(self) -> V:
        """Return the value; make it, or wait for the thread that is making it.

        Raises
        ------
        ImageError
            The failure of whoever made it.
        """
        with self._lock:
            make, self._make = self._make, None
        if make is not None:
            self._run(make)
        made = self._made.result()
        if isinstance(made, ImageFault):
            raise ImageError.of(made)
        return made

    def _run(self, make: Callable[[], V]) -> None:
        try:
            self._made.set_result(make())
        except ImageError as error:
            self._made.set_result(error.fault)
        except BaseException:
            # No thread may wait for ever for what is never made. The cause is raised, and logged, only here.
            self._made.set_exception(RuntimeError("another thread failed to make this"))
            raise
