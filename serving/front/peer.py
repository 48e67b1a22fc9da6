"""The other end of a connection: its socket, and asyncio's transport while there is one."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import termios

from serving.front.socket_state import is_of_this_machine, is_reset, reset_on_close, waiting_bytes


class Peer:
    """What may be done to a client's connection, whether asyncio has begun with it, or has ended.

    During a TLS handshake there is no transport yet, and after ``connection_lost`` none any more; the
    socket is there all along, but asyncio closes it.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._transport: asyncio.Transport | None = None

    def attach(self, transport: asyncio.Transport) -> None:
        """Take the transport that asyncio has made."""
        self._transport = transport

    def detach(self) -> None:
        """Let go of the transport, which asyncio has closed."""
        self._transport = None

    @property
    def is_attached(self) -> bool:
        """Whether bytes can be exchanged."""
        return self._transport is not None

    @property
    def transport(self) -> asyncio.Transport:
        """The transport, where there must be one."""
        assert self._transport is not None
        return self._transport

    @property
    def is_tls(self) -> bool:
        """Whether the connection is encrypted: then nobody can send after having said the end."""
        return self.transport.get_extra_info("sslcontext") is not None

    @property
    def is_of_this_machine(self) -> bool:
        """Whether it is on this machine."""
        return is_of_this_machine(self.sock)

    @property
    def has_reset(self) -> bool:
        """Whether it has broken the connection off."""
        return is_reset(self.sock)

    @property
    def has_sent(self) -> bool:
        """Whether bytes of it wait in the kernel that asyncio has not read yet."""
        return waiting_bytes(self.sock, termios.FIONREAD) > 0

    def close(self) -> None:
        """Close when what was written has been sent."""
        if self._transport is None:  # asyncio holds the socket, and closes it when it notices
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)
        else:
            self._transport.close()

    def abort(self, *, unsent: bool) -> None:
        """Close at once; ``unsent`` bytes are thrown away, which the kernel would keep for minutes."""
        if self._transport is None:
            self.close()
            return
        if unsent:
            reset_on_close(self.sock)
        self._transport.abort()
