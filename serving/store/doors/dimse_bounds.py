"""What pynetdicom leaves unbounded of a connection: the size of a PDU, its pace, and what a lost one leaves.

pynetdicom reads a PDU of whatever length its six bytes of header name, up to 4 GB, before it knows who sends
it; and a connection that ends in the middle of an instance leaves the file that it was written to.
"""

from __future__ import annotations

import contextlib
import logging
import time
from io import BytesIO
from pathlib import Path

from pynetdicom.association import Association
from pynetdicom.transport import AssociationSocket

log = logging.getLogger(__name__)

PDU_BYTES = 131_072
"""Largest P-DATA-TF that is offered to peers (PS3.8, D.1)."""

_MAX_PDU = PDU_BYTES + 1024
"""Largest PDU that is read; association requests of 128 contexts have some 30,000 bytes."""

_MAX_HELD = 262_144
"""Bytes in memory of a message that is coming in; a query with 1000 UIDs has some 65,000."""

_MAX_QUEUED = 16
"""Requests of a connection that wait; PS3.7 has one at a time where no more were agreed."""

_PDU_S = 30.0
"""A PDU that has begun must be here within so many seconds."""


def bound_connection(association: Association) -> None:
    """Make an association's socket read no PDU that is too large, and wait for none that does not come."""
    connection = association.dul.socket
    assert connection is not None, "a new association has its socket"

    def receive(nr_bytes: int) -> bytearray:
        return _received(connection, nr_bytes)

    # An attribute of this one object: pynetdicom makes its sockets itself, and has no place to name a class.
    connection.recv = receive  # type: ignore[method-assign]


def _received(connection: AssociationSocket, size: int) -> bytearray:
    """Return so many bytes, or fewer when the peer closes; pynetdicom expects an OSError of all faults."""
    if size > _MAX_PDU:
        raise ConnectionError("a PDU is longer than was agreed")
    sock = connection.socket
    if sock is None:
        raise ConnectionError("the connection is closed")
    buffer, at = bytearray(size), 0
    view, deadline = memoryview(buffer), time.monotonic() + _PDU_S
    with view:
        while at < size:
            sock.settimeout(max(deadline - time.monotonic(), 0.001))
            if not (count := sock.recv_into(view[at:])):
                break
            at += count
    return buffer[:at]


def holds_too_much(association: Association) -> bool:
    """Return whether a peer sends what grows in memory: a query, or requests, without end."""
    provider = association.dimse
    if provider.msg_queue.qsize() > _MAX_QUEUED:
        return True
    message = provider.message
    if message is None:
        return False
    parts = (message.encoded_command_set, message.data_set)
    return sum(part.tell() for part in parts if isinstance(part, BytesIO)) > _MAX_HELD


def unfinished(association: Association) -> list[Path]:
    """Return the files of instances that a connection brought and nobody will handle any more."""
    provider = association.dimse
    paths = [] if provider.message is None else [provider.message._data_set_path]
    paths += [getattr(request, "_dataset_path", None) for _, request in list(provider.msg_queue.queue)]
    return [path for path in paths if isinstance(path, Path)]


def remove_unfinished(association: Association) -> None:
    """Remove what a connection left; called when it has ended."""
    for path in unfinished(association):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        log.info("an instance did not arrive completely")


def unfinished_bytes(association: Association) -> int:
    """Return how many bytes of an instance have been written, which is still coming in."""
    message = association.dimse.message
    path = None if message is None else message._data_set_path
    if not isinstance(path, Path):
        return 0
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0
