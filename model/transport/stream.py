"""A link from one client to one encoder, and the streams of patches on it: one per request.

A slot has exactly one owner at any time: the free pool, the stream that took it, or the encoder.
A stream may own a fixed number of slots at once and the slab holds enough for all streams, so that
no request ever waits for another one's slots, and a request of 4,000 patches never holds them all.

Each connection gets a slab of its own: an encoder that was cut off never writes to its successor's slots.

Threads: the client's calls ``Link.receive`` and ``fail``; a request's own takes slots and waits on its
stream, those that decode for it write patches and submit them, and any may ``abandon`` it. They share the
link's one lock, which is never held while a message is sent: a full socket blocks until the encoder reads,
and its answers need the lock. Who waits is woken when what it waits for is there, not at every message.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping

import numpy as np
import numpy.typing as npt

from model.encoder import EncoderFacts, Vectors
from model.transport import wire
from model.transport.liveness import Liveness
from model.transport.slab import Slab, SlotPool, create_slab


class EncoderUnavailable(Exception):
    """The encoder is starting, restarting or gone; what was in flight is lost."""


class EncoderDrifted(EncoderUnavailable):
    """The encoder's vectors would be wrong; the text says how one knows, without a full stop."""


class DeadlineExceeded(Exception):
    """The encoder did not get to the request's patches in time."""


class Abandoned(Exception):
    """Nobody waits for the request any more."""


class Stream:
    """The patches of one request on their way through the encoder.

    Attributes
    ----------
    vectors:
        float32 ``[patches, dimension]``; row ``i`` is NaN until patch ``i`` is done.
    failed:
        Indexes of patches that the encoder could not embed.
    queue_s, encode_s:
        Longest wait for a batch and total batch time that this request saw, in seconds.
    queued, encoded:
        From when to when patches waited for batches, and were in them (``time.perf_counter()``), reckoned
        back from when the encoder's answers came; nothing before the first.
    """

    def __init__(self, link: Link, request: int, patches: int, quota: int) -> None:
        self._link = link
        self._request = request
        self._quota = quota
        # All below is under the link's lock. Owned slots are being written, or sent.
        self._owned = 0
        self._sent: dict[int, int] = {}
        self._closed = False
        self._abandoned = False
        self._changed = threading.Condition(link.lock)
        self._awaited: Callable[[], bool] | None = None
        self.vectors: Vectors = np.full((patches, link.facts.dimension), np.nan, np.float32)
        self.failed: set[int] = set()
        self.queue_s = 0.0
        self.encode_s = 0.0
        self.queued: tuple[float, float] | None = None
        self.encoded: tuple[float, float] | None = None

    @property
    def facts(self) -> EncoderFacts:
        """Facts of the encoder that this stream goes to."""
        return self._link.facts

    def acquire(self, count: int, deadline: float) -> list[int]:
        """Wait until the stream's quota has room and take slots; to be submitted or released by any thread.

        What a thread waits for must come back without it: by the encoder, or by other threads.

        Parameters
        ----------
        count:
            At most the quota.
        deadline:
            ``time.monotonic()`` seconds.

        Raises
        ------
        EncoderUnavailable, DeadlineExceeded, Abandoned
        """
        if count > self._quota:
            raise ValueError(f"{count} slots of a quota of {self._quota}")
        pool = self._link.pool
        with self._link.lock:
            self._require_wanted()
            self._wait_until(lambda: self._owned + count <= self._quota and count <= pool.free, deadline)
            self._owned += count
            return pool.take(count)

    def pixels(self, slot: int) -> npt.NDArray[np.uint8]:
        """Return the slot's uint8 ``[224, 224, 3]``, to be written before the slot is submitted."""
        pixels: npt.NDArray[np.uint8] = self._link.slab.pixels[slot]
        return pixels

    def submit(self, slots: Mapping[int, int]) -> None:
        """Hand slots to the encoder, in one message; those of a closed stream go back to the pool.

        Parameters
        ----------
        slots:
            Index of the patch in the request, by slot.

        Raises
        ------
        EncoderUnavailable
        """
        with self._link.lock:
            if self._closed or self._link.fault or not self._link.alive:
                self._release(slots)
                self._link.require_alive()
                return
            # Before they are sent: the answer may be received before ``send`` returns.
            self._sent.update(slots)
        if slots:
            self._link.send(wire.Submit(self._request, tuple(slots)))

    def release(self, slots: Collection[int]) -> None:
        """Give back slots that were not submitted."""
        with self._link.lock:
            self._release(slots)

    def wait(self, deadline: float) -> None:
        """Wait until every submitted patch is done.

        Raises
        ------
        EncoderUnavailable, DeadlineExceeded, Abandoned
        """
        with self._link.lock:
            self._wait_until(lambda: not self._sent, deadline)
            self._link.require_sound()

    def abandon(self) -> None:
        """Make the thread that uses the stream stop and close it; may be called from any other."""
        with self._link.lock:
            self._abandoned = True
            self._changed.notify()

    def close(self) -> None:
        """Let go: patches that are still queued are dropped, their slots come back by themselves."""
        with self._link.lock:
            # From here on ``done`` copies no vectors. It forgets the stream once its last slot is back: a
            # slot that the encoder may still read or write must not be given to another request.
            self._closed = True
            outstanding = bool(self._sent) and self._link.alive
        if outstanding:
            with contextlib.suppress(EncoderUnavailable):
                self._link.send(wire.Cancel(self._request))
        else:
            self._link.end(self._request)

    # With the link's lock held

    def done(self, message: wire.Done) -> None:
        """Take over the vectors of a batch and give its slots back."""
        indexes = [self._sent.pop(slot) for slot in message.slots]
        failed = [self._sent.pop(slot) for slot in message.failed]
        if not self._closed:
            # Copied now: the slots are free below, and the next patch's vector will be written there.
            self.vectors[indexes] = self._link.slab.vectors[list(message.slots)]
            self.failed.update(failed)
            self.queue_s = max(self.queue_s, message.queue_s)
            self.encode_s += message.encode_s
            self._note_periods(message, time.perf_counter())
        self._release((*message.slots, *message.failed))
        if self._closed and not self._sent:
            self._link.end(self._request)

    def _note_periods(self, message: wire.Done, now: float) -> None:
        began = now - message.encode_s
        queued, encoded = self.queued or (began, began), self.encoded or (began, began)
        self.queued = min(queued[0], began - message.queue_s), max(queued[1], began)
        self.encoded = min(encoded[0], began), now

    def wake(self, *, anyway: bool = False) -> None:
        """Wake the stream's thread if what it waits for is there."""
        if self._awaited is not None and (anyway or self._awaited()):
            self._changed.notify()

    def _release(self, slots: Collection[int]) -> None:
        self._link.pool.give_back(slots)
        self._owned -= len(slots)
        self._link.wake()

    def _wait_until(self, condition: Callable[[], bool], deadline: float) -> None:
        self._awaited = condition
        try:
            while not condition():
                self._require_wanted()
                if (left := deadline - time.monotonic()) <= 0:
                    raise DeadlineExceeded
                self._changed.wait(left)
        finally:
            self._awaited = None

    def _require_wanted(self) -> None:
        self._link.require_alive()
        if self._abandoned:
            raise Abandoned


class Link:
    """One connection to one encoder, with its slab.

    Attributes
    ----------
    lock:
        Guards the pool, and what streams and the link itself know.
    alive:
        False for good once the connection has failed.
    liveness:
        The encoder's last status.
    fault:
        See ``wire.Status``.
    """

    def __init__(self, sock: socket.socket, facts: EncoderFacts, slots: int, fault: str = "") -> None:
        self.facts = facts
        self.fault = fault
        self.slab: Slab = create_slab(slots, facts.dimension)
        self.pool = SlotPool(slots)
        # Reentrant: ``receive`` holds it while a closed stream's last slot ends that stream.
        self.lock = threading.RLock()
        self.alive = True
        self.liveness = Liveness(time.monotonic())
        self._sock = sock
        self._requests = itertools.count(1)
        self._streams: dict[int, Stream] = {}
        try:
            socket.send_fds(sock, [wire.encode(wire.Attach(slots))], [self.slab.fd])
        finally:
            # The encoder has a descriptor of its own, made as the packet is received; the mapping needs none.
            self.slab.close_fd()

    def open_stream(self, patches: int, quota: int) -> Stream:
        """Open a stream for a request of so many patches."""
        with self.lock:
            self.require_alive()
            request = next(self._requests)
            stream = self._streams[request] = Stream(self, request, patches, quota)
            return stream

    def send(self, message: wire.Message) -> None:
        """Send a message; a socket that does not take it in time is cut off.

        Any thread may call this: packets are sent whole, so they never mix.

        Raises
        ------
        EncoderUnavailable
        """
        try:
            self._sock.send(wire.encode(message))
        except OSError as error:
            self.fail()
            raise EncoderUnavailable("the encoder does not take requests") from error

    def receive(self, message: wire.Message) -> None:
        """Act on a message of the encoder.

        Raises
        ------
        WireError
            When the encoder should not have sent it.
        """
        with self.lock:
            match message:
                case wire.Done() if message.request in self._streams:
                    self._streams[message.request].done(message)
                case wire.Status(busy_s, fault):
                    self.liveness = Liveness(time.monotonic(), busy_s)
                    if fault and not self.fault:
                        self.fault = fault
                        self.wake(anyway=True)
                case other:
                    raise wire.WireError(f"unexpected {type(other).__name__}")

    def require_alive(self) -> None:
        """Raise EncoderUnavailable on a link that was cut off, or whose encoder has a fault."""
        self.require_sound()
        if not self.alive:
            raise EncoderUnavailable("the encoder went away")

    def require_sound(self) -> None:
        """Raise EncoderDrifted when the encoder has a fault: vectors that came may be wrong, too."""
        if self.fault:
            raise EncoderDrifted(self.fault)

    def wake(self, *, anyway: bool = False) -> None:
        """Wake the threads of streams that wait for what is there now. Called with the lock held."""
        for stream in self._streams.values():
            stream.wake(anyway=anyway)

    def end(self, request: int) -> None:
        """Forget a stream."""
        with self.lock:
            self._streams.pop(request, None)

    def fail(self) -> None:
        """Mark the link as cut off and wake everyone who waits on it."""
        with self.lock:
            self.alive = False
            self.wake(anyway=True)
        # Wakes the link's thread, wherever this was called; that closes the socket.
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
