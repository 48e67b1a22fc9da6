"""The slides of a folder: listed by name, opened by handle, a few of them kept open."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dicom_io.local.discovery import slides_in
from dicom_io.local.files import stamp_of
from dicom_io.local.opening import open_slide
from dicom_io.local.slide import LocalSlide
from dicom_io.sources.session import ReadContext
from serving.errors import Code, ServiceError
from serving.output.files import as_text
from serving.view.handles import FolderHandle, handle_of_name, unknown

KEPT_OPEN = 8
"""Slides that a worker keeps open: what two slides, in a few tabs, need."""

_LOOK_AGAIN_S = 2.0
"""The folder is not walked more often, whatever is asked for."""


@dataclass(frozen=True, slots=True)
class NamedSlide:
    """A slide of the folder.

    Attributes
    ----------
    name:
        Its path below the folder, for people.
    """

    handle: FolderHandle
    name: str
    path: Path = field(repr=False)


@dataclass(slots=True)
class _Kept:
    stamp: str
    slide: LocalSlide
    users: int = 0
    is_dropped: bool = False


class SlideFolder:
    """Slides below a folder. Safe for many threads.

    Parameters
    ----------
    folder:
        ``None`` has no slides.
    context:
        What they are opened with.
    """

    def __init__(
        self,
        folder: Path | None,
        context: ReadContext,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._context, self._clock = folder, context, clock
        self._lock = threading.Lock()
        self._looking = threading.Lock()
        self._found: dict[str, NamedSlide] = {}
        self._looked: float | None = None
        self._open: OrderedDict[str, _Kept] = OrderedDict()

    def slides(self) -> list[NamedSlide]:
        """Return the slides that are there now, in the order of their names.

        Raises
        ------
        ServiceError
            INTERNAL_ERROR when the folder cannot be read.
        """
        self._look()
        return list(self._found.values())

    def find(self, handle: FolderHandle) -> NamedSlide:
        """Return a slide of the folder.

        Raises
        ------
        ServiceError
            NOT_FOUND_ERROR
        """
        if handle.text not in self._found:
            self._look()
        found = self._found.get(handle.text)
        if found is None:
            raise unknown()
        return found

    @contextlib.contextmanager
    def lent(self, handle: FolderHandle) -> Iterator[LocalSlide]:
        """Yield a slide, which stays open at least until the block ends.

        Raises
        ------
        ServiceError
            NOT_FOUND_ERROR
        ImageError
            As ``open_slide``.
        """
        slide, give_back = self.take(handle)
        try:
            yield slide
        finally:
            give_back()

    def take(self, handle: FolderHandle) -> tuple[LocalSlide, Callable[[], None]]:
        """Return an open slide, and what is to be called, once, when it is not needed any more."""
        named = self.find(handle)
        try:
            stamp = stamp_of(named.path)
        except OSError as error:
            raise unknown() from error
        with self._lock:
            kept = self._open.get(handle.text)
            if kept is not None and kept.stamp == stamp:
                self._open.move_to_end(handle.text)
                kept.users += 1
                return kept.slide, lambda: self._give_back(kept)
        # Not under the lock: it takes a helper process, and others are read meanwhile.
        opened = _Kept(stamp, open_slide(named.path, self._context), users=1)
        with self._lock:
            if (before := self._open.pop(handle.text, None)) is not None:
                self._drop(before)
            self._open[handle.text] = opened
            while len(self._open) > KEPT_OPEN:
                self._drop(self._open.popitem(last=False)[1])
        return opened.slide, lambda: self._give_back(opened)

    def close(self) -> None:
        """Close all slides, once nobody reads them."""
        with self._lock:
            while self._open:
                self._drop(self._open.popitem()[1])

    def _give_back(self, kept: _Kept) -> None:
        with self._lock:
            kept.users -= 1
            self._close_unused(kept)

    def _drop(self, kept: _Kept) -> None:
        kept.is_dropped = True
        self._close_unused(kept)

    @staticmethod
    def _close_unused(kept: _Kept) -> None:
        if kept.is_dropped and not kept.users:
            kept.slide.close()

    def _look(self) -> None:
        with self._looking:  # who comes second needs what the first one finds
            now = self._clock()
            if self._folder is None or (self._looked is not None and now - self._looked < _LOOK_AGAIN_S):
                return
            try:
                paths = slides_in(self._folder)
            except OSError as error:
                raise ServiceError(
                    Code.INTERNAL_ERROR, f"The folder of slides cannot be read: {error.strerror}."
                ) from error
            self._looked = now
            found = [self._named(path, self._folder) for path in paths]
            self._found = {slide.handle.text: slide for slide in found}

    @staticmethod
    def _named(path: Path, folder: Path) -> NamedSlide:
        name = path.relative_to(folder).as_posix()
        return NamedSlide(handle_of_name(name), as_text(folder.name if name == "." else name), path)
