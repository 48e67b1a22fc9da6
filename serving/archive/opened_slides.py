"""Slides that a worker keeps open: blocks of the same slide often come one after the other."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from serving.batch.opened import OpenedSlide

KEPT = 4
"""Slides that nobody uses and that are kept open all the same."""


@dataclass(slots=True)
class _Entry:
    users: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    slide: OpenedSlide | None = None
    closing: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)


class OpenedSlides:
    """Lends slides to threads; those that have not been used for longest are closed."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()

    @contextlib.contextmanager
    def lent(
        self, key: Hashable, make: Callable[[], AbstractContextManager[OpenedSlide]]
    ) -> Iterator[OpenedSlide]:
        """Yield a slide, opened now unless it is open.

        Parameters
        ----------
        key:
            The same for slides that are opened alike.

        Raises
        ------
        Exception
            What ``make`` raises.
        """
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
            entry.users += 1
        try:
            with entry.lock:
                if entry.slide is None:
                    entry.slide = entry.closing.enter_context(make())
            yield entry.slide
        finally:
            self._give_back(key, entry)

    def drop(self, key: Hashable) -> None:
        """Open a slide anew when it is next asked for."""
        with self._lock:
            entry = self._entries.pop(key, None)
            unused = entry is not None and not entry.users
        if entry is not None and unused:
            entry.closing.close()

    def close(self) -> None:
        """Close what nobody uses."""
        with self._lock:
            closing = [entry for entry in self._entries.values() if not entry.users]
            self._entries.clear()
        for entry in closing:
            entry.closing.close()

    def _give_back(self, key: Hashable, entry: _Entry) -> None:
        closing = []
        with self._lock:
            entry.users -= 1
            if self._entries.get(key) is not entry and not entry.users:
                closing.append(entry)  # it was dropped meanwhile
            idle = [one for one, found in self._entries.items() if not found.users]
            failed = [one for one in idle if self._entries[one].slide is None]
            old = dict.fromkeys(failed + idle[: max(0, len(idle) - self._kept)])
            closing += [self._entries.pop(one) for one in old]
        for one in closing:
            one.closing.close()
