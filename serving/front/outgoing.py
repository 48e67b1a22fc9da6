"""An answer on its way out: piece by piece, at the client's pace, as long as there is one."""

from __future__ import annotations

import asyncio
import socket
import termios
from collections.abc import Callable

from serving.front import client_limits as limits
from serving.front.pace import Pace
from serving.front.socket_state import waiting_bytes

PIECE = 1 << 18
_LAST_CHUNK = b"0\r\n\r\n"


class Outgoing:
    """Writes the answers of one connection, one after the other.

    Parameters
    ----------
    transport, sock:
        Of the connection; the transport tells its protocol when to pause.
    """

    def __init__(self, transport: asyncio.Transport, sock: socket.socket, now: float) -> None:
        transport.set_write_buffer_limits(high=1, low=0)  # an answer is done when the kernel has all of it
        self._transport = transport
        self._sock = sock
        self._pending = memoryview(b"")
        self._paused = False
        self._more: Callable[[], None] | None = None
        self._awaits = self._chunked = False
        self._least_unread = 0
        self._pace = Pace(1, limits.READING_PACE_S, now)

    @property
    def held(self) -> int:
        """Bytes that are kept here until the client takes them."""
        return len(self._pending) + self._transport.get_write_buffer_size()

    @property
    def unread(self) -> int:
        """Bytes that are kept here or by the kernel: the client has not acknowledged them."""
        return self.held + waiting_bytes(self._sock, termios.TIOCOUTQ)

    def begin(
        self,
        head: bytes,
        body: bytes,
        now: float,
        more: Callable[[], None] | None = None,
        *,
        chunked: bool = False,
    ) -> None:
        """Begin to send an answer; the rest goes by ``pump``.

        Parameters
        ----------
        more:
            Asks for what is left of an answer that is made while it is sent; it comes by ``take``.
        chunked:
            Whether each piece says its length (RFC 9112, 7.1).
        """
        self._more, self._awaits, self._chunked = more, False, chunked
        body = _chunk(body) if chunked else body
        small = len(body) < PIECE
        self._pending = memoryview(b"" if small else body)
        self._least_unread = len(head) + len(body)
        self._pace = Pace(1, limits.READING_PACE_S, now)
        self._transport.write(head + body if small else head)

    def take(self, piece: bytes, now: float, *, is_last: bool) -> None:
        """Take the piece that was asked for; send it by ``pump``."""
        self._awaits = False
        if is_last:
            self._more = None
        if self._chunked:
            piece = (_chunk(piece) if piece else b"") + (_LAST_CHUNK if is_last else b"")
        self._pending = memoryview(piece)
        self._least_unread = len(piece) + self.unread
        self._pace.restart(now)

    def pause(self) -> None:
        """Stop: the kernel takes no more."""
        self._paused = True

    def resume(self) -> None:
        """Note that the kernel takes more."""
        self._paused = False

    def pump(self) -> bool:
        """Send what can be sent; return whether that was all."""
        while self._pending and not self._paused:
            piece, self._pending = self._pending[:PIECE], self._pending[PIECE:]
            self._transport.write(piece)
        if self._pending or self._paused:
            return False
        self._pending = memoryview(b"")  # lets go of the answer
        if self._more is None:
            return True
        if not self._awaits:
            self._awaits = True
            self._more()
        return False

    def is_stuck(self, now: float) -> bool:
        """Return whether the client has taken nothing for too long."""
        if self._awaits:
            return False
        unread = self.unread
        if unread < self._least_unread:
            self._least_unread = unread
            self._pace.restart(now)
        return self._pace.is_lost(now)

    @property
    def since(self) -> float:
        """When the client took something last."""
        return self._pace.since


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)
