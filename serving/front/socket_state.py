"""What the kernel knows about a connection."""

from __future__ import annotations

import fcntl
import select
import socket
import struct


def waiting_bytes(sock: socket.socket, queue: int) -> int:
    """Return how many bytes wait in one of a socket's queues.

    Parameters
    ----------
    queue:
        ``termios.TIOCOUTQ``: sent, but not acknowledged by the other end; ``termios.FIONREAD``: not read.
    """
    try:
        (amount,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), queue, b"\0" * 4))
    except (OSError, ValueError):
        return 0
    return int(amount)


def is_reset(sock: socket.socket) -> bool:
    """Return whether the other end has broken the connection off."""
    poll = select.poll()
    poll.register(sock.fileno(), 0)
    return any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0))


def is_of_this_machine(sock: socket.socket) -> bool:
    """Return whether the other end is on this machine, so that bytes go over no line."""
    try:
        ours, theirs = sock.getsockname(), sock.getpeername()
    except OSError:
        return False
    return sock.family == socket.AF_UNIX or bool(ours[0] == theirs[0])


def reset_on_close(sock: socket.socket) -> None:
    """Discard unsent bytes when the socket is closed; the kernel would keep them for minutes."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
