"""A value that several threads need and one of them makes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from dicom_io.errors import ImageError, ImageFault
from dicom_io.waiting import Cancellation

V = TypeVar("V")


class _Failed:
    """Stands for a value that could not be made, for a reason that is not the image's."""


class Once(Generic[V]):
    """Makes a value when it is first asked for; its failure is kept, too, and not tried again.

    Parameters
    ----------
    make:
        Called once, in the thread that asks first, and then let go of: it may hold what the value is made of.
    """

    __slots__ = ("_awaited", "_lock", "_made", "_make")

    def __init__(self, make: Callable[[], V]) -> None:
        self._lock = threading.Lock()
        self._make: Callable[[], V] | None = make
        # In a tuple of one, as ``None`` may be the value. A fault is a value here, not an exception: that
        # would hold the frames it went through, and by them an image's bytes, as long as this object lives.
        self._made: tuple[V | ImageFault | _Failed] | None = None
        # Only where somebody waits: most values are made by the thread that needs them, and there are several
        # to an image.
        self._awaited: Future[None] | None = None

    @property
    def done(self) -> bool:
        """Whether the value, or its failure, is there."""
        return self._made is not None

    def wait(self, waits: Cancellation) -> None:
        """Wait until another thread has made the value or failed; see ``Cancellation.result``."""
        if (awaited := self._until_made()) is not None:
            waits.result(awaited)

    def get(self) -> V:
        """Return the value; make it, or wait for the thread that is making it.

        Raises
        ------
        ImageError
            The failure of whoever made it.
        """
        if self._made is None:
            with self._lock:
                make, self._make = self._make, None
            if make is not None:
                self._run(make)
            elif (awaited := self._until_made()) is not None:
                awaited.result()
        assert self._made is not None
        (made,) = self._made
        if isinstance(made, ImageFault):
            raise ImageError.of(made)
        if isinstance(made, _Failed):
            raise RuntimeError("another thread failed to make this")
        return made

    def _run(self, make: Callable[[], V]) -> None:
        try:
            self._set(make())
        except ImageError as error:
            self._set(error.fault)
        except BaseException:
            # No thread may wait for ever for what is never made. The cause is raised, and logged, only here.
            self._set(_Failed())
            raise

    def _set(self, made: V | ImageFault | _Failed) -> None:
        with self._lock:
            self._made = (made,)
            awaited = self._awaited
        if awaited is not None:
            awaited.set_result(None)

    def _until_made(self) -> Future[None] | None:
        with self._lock:
            if self._made is None and self._awaited is None:
                self._awaited = Future()
            return self._awaited if self._made is None else None
