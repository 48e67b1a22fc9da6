"""Notices clients that hang up while their request is being worked on: one thread watches for all."""

from __future__ import annotations

import contextlib
import itertools
import select
import socket
import threading
from collections.abc import Callable, Iterator

_LOOK_S = 0.25
_GONE = select.POLLRDHUP | select.POLLHUP | select.POLLERR


class HangUpWatch:
    """Calls back when the other end of a socket has closed it.

    A client that shuts down only its sending side counts as gone, too, as it does for other HTTP servers.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._watched: dict[int, tuple[socket.socket, Callable[[], None]]] = {}
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def during(self, sock: socket.socket, gone: Callable[[], None]) -> Iterator[None]:
        """Watch a socket during a ``with`` block.

        Parameters
        ----------
        gone:
            Called once at most, in the watching thread; must be quick.
        """
        number = next(self._numbers)
        with self._changed:
            if self._thread is None:  # after the fork
                self._thread = threading.Thread(target=self._watch, name="hang-up-watch", daemon=True)
                self._thread.start()
            self._watched[number] = sock, gone
            if len(self._watched) == 1:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._watched.pop(number, None)

    def _watch(self) -> None:
        with self._changed:
            while True:
                self._changed.wait(_LOOK_S if self._watched else None)
                for number in self._hung_up():
                    _, gone = self._watched.pop(number)
                    gone()

    def _hung_up(self) -> list[int]:
        """Return whose sockets are closed; the lock keeps their descriptors from being used anew."""
        poll = select.poll()
        by_descriptor = {}
        for number, (sock, _) in self._watched.items():
            if (descriptor := sock.fileno()) >= 0:
                poll.register(descriptor, select.POLLRDHUP)
                by_descriptor[descriptor] = number
        return [by_descriptor[fd] for fd, events in poll.poll(0) if events & _GONE]
