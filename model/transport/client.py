"""The client's side of the socket: keeps a link to the encoder, through restarts of the encoder."""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import threading
import time
from collections.abc import Iterator

from model.encoder import EncoderFacts
from model.transport import wire
from model.transport.liveness import READY
from model.transport.stream import EncoderDrifted, EncoderUnavailable, Link, Stream

_TIMEOUT = struct.pack("@ll", 5, 0)  # struct timeval, 5 s
_RECONNECT_S = 0.1

log = logging.getLogger(__name__)


class EncoderClient:
    """Keeps a link to the encoder, through restarts of the encoder.

    Parameters
    ----------
    address:
        Path of the encoder's Unix socket.
    streams, quota:
        Requests that run at once, and slots that each may own.

    Attributes
    ----------
    fault:
        Why the encoder's vectors would be wrong, without a full stop; empty while they are not. One that has
        ended is spoken of until another is linked that has none.
    """

    def __init__(self, address: str, *, streams: int, quota: int) -> None:
        self._address = address
        self._slots = streams * quota
        self._quota = quota
        # Written by the link's thread alone. Others read each once into a variable of their own, without a
        # lock: a link that has just ended refuses by itself what is asked of it.
        self._link: Link | None = None
        self._socket: socket.socket | None = None
        self.fault = ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep_linked, name="encoder-link", daemon=True)

    def start(self) -> None:
        """Begin to connect, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Disconnect."""
        self._stopping.set()
        sock = self._socket
        if sock is not None:
            # Wakes the link's thread out of recv; closing the socket under it would not.
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    @property
    def facts(self) -> EncoderFacts | None:
        """Facts of the encoder that is linked; ``None`` while there is none."""
        link = self._link
        return link.facts if link is not None and link.alive else None

    @property
    def healthy(self) -> bool:
        """Whether a warm encoder without a fault is linked and has answered just now."""
        link = self._link
        if link is None or not link.alive or link.fault:
            return False
        return link.liveness.within(READY, time.monotonic())

    def open_stream(self, patches: int) -> Stream:
        """Open a stream for a request of so many patches.

        Raises
        ------
        EncoderUnavailable
            EncoderDrifted among others.
        """
        link = self._link
        if link is None:
            if self.fault:
                raise EncoderDrifted(self.fault)
            raise EncoderUnavailable("the encoder is not ready")
        return link.open_stream(patches, self._quota)

    # The link's thread

    def _keep_linked(self) -> None:
        while not self._stopping.is_set():
            try:
                self._serve_one_link()
            except (OSError, wire.WireError) as error:
                log.debug("encoder link ended", extra={"reason": type(error).__name__})
            self._stopping.wait(_RECONNECT_S)

    def _serve_one_link(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            self._socket = sock
            sock.connect(self._address)
            # For sending: request threads must not hang on an encoder that stopped reading. In recv it is
            # but a round of the loop below. By the system, as Python's own timeout polls before each message.
            for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
                sock.setsockopt(socket.SOL_SOCKET, option, _TIMEOUT)
            link: Link | None = None
            try:
                for message in self._messages(sock):
                    if link is not None:
                        link.receive(message)
                        self.fault = link.fault
                    elif isinstance(message, wire.Hello):
                        self.fault = message.fault
                        link = self._link = Link(sock, message.facts, self._slots, message.fault)
                        log.info("encoder linked", extra={"model": message.facts.model})
            finally:
                # In this order: no new request may get a link that has failed.
                self._link = None
                if link is not None:
                    link.fail()
                    log.warning("encoder link lost")

    def _messages(self, sock: socket.socket) -> Iterator[wire.Message]:
        """Yield the encoder's messages until the socket is closed."""
        while not self._stopping.is_set():
            try:
                packet = sock.recv(wire.MAX_PACKET)
            except BlockingIOError:  # the time is over
                continue
            if not packet:
                return
            yield wire.decode(packet)
