"""Messages between a client and the encoder, over a Unix socket of packets (SOCK_SEQPACKET).

A packet is one message. Pixels and vectors never travel here, only the numbers of slots.

client → encoder: ATTACH (with the slab's descriptor), SUBMIT, CANCEL
encoder → client: HELLO, DONE, STATUS

A packet is a head (kind, request, number of slots), little-endian without padding, and a body by its kind.
Both ends are of one installation, started together: there is no version.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from model.encoder import EncoderFacts

MAX_PACKET = 128 * 1024
MAX_SLOTS = 1 << 14
"""Most slots of a slab: their numbers fit in one packet."""

_HEAD = struct.Struct("<BQI")
_DONE = struct.Struct("<dd")
_STATUS = struct.Struct("<d")
_HELLO, _ATTACH, _SUBMIT, _CANCEL, _DONE_KIND, _STATUS_KIND = range(1, 7)


class WireError(Exception):
    """A packet that the other side should not have sent, or not now."""


@dataclass(frozen=True, slots=True)
class Hello:
    """The encoder is warm: this is what it is.

    Attributes
    ----------
    fault:
        As in ``Status``.
    """

    facts: EncoderFacts
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Attach:
    """The client's slab, once per connection; its descriptor travels with the packet (SCM_RIGHTS)."""

    slots: int


@dataclass(frozen=True, slots=True)
class Submit:
    """These slots hold patches of this request."""

    request: int
    slots: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Cancel:
    """Nobody waits for this request any more; its queued slots come back as failed."""

    request: int


@dataclass(frozen=True, slots=True)
class Done:
    """These slots belong to the client again.

    Attributes
    ----------
    slots, failed:
        With a vector, and without one.
    queue_s, encode_s:
        How long the first of them waited for its batch, and how long the batch took.
    """

    request: int
    slots: tuple[int, ...]
    failed: tuple[int, ...]
    queue_s: float
    encode_s: float


@dataclass(frozen=True, slots=True)
class Status:
    """Sent several times a second: the encoder answers, and has run its batch for this long.

    Attributes
    ----------
    fault:
        Why it embeds nothing, as its vectors would be wrong: a sentence, without a full stop; empty while
        it does. One that has a fault never loses it.
    """

    busy_s: float
    fault: str = ""


Message = Hello | Attach | Submit | Cancel | Done | Status


def encode(message: Message) -> bytes:
    """Return a message as one packet."""
    match message:
        case Hello(facts, fault):
            body = {"facts": asdict(facts), "fault": fault}
            return _HEAD.pack(_HELLO, 0, 0) + json.dumps(body).encode()
        case Attach(slots):
            return _HEAD.pack(_ATTACH, 0, slots)
        case Submit(request, slots):
            return _HEAD.pack(_SUBMIT, request, len(slots)) + _slots(slots)
        case Cancel(request):
            return _HEAD.pack(_CANCEL, request, 0)
        case Done(request, slots, failed, queue_s, encode_s):
            head = _HEAD.pack(_DONE_KIND, request, len(slots))
            return head + _DONE.pack(queue_s, encode_s) + _slots(slots) + _slots(failed)
        case Status(busy_s, fault):
            return _HEAD.pack(_STATUS_KIND, 0, 0) + _STATUS.pack(busy_s) + fault.encode()


def decode(packet: bytes) -> Message:
    """Parse a packet.

    Raises
    ------
    WireError
        When it is not a message of this protocol.
    """
    try:
        return _decode(packet)
    except (struct.error, ValueError, TypeError, KeyError) as error:
        raise WireError(f"malformed packet of {len(packet)} bytes") from error


def _decode(packet: bytes) -> Message:
    kind, request, count = _HEAD.unpack_from(packet)
    body = packet[_HEAD.size :]
    if kind == _HELLO:
        hello = json.loads(body)
        return Hello(EncoderFacts(**hello["facts"]), hello["fault"])
    if kind == _ATTACH:
        return Attach(count)
    if kind == _SUBMIT:
        slots = _unpack_slots(body)
        if len(slots) != count:
            raise ValueError("wrong number of slots")
        return Submit(request, slots)
    if kind == _CANCEL:
        return Cancel(request)
    if kind == _DONE_KIND:
        queue_s, encode_s = _DONE.unpack_from(body)
        slots = _unpack_slots(body[_DONE.size :])
        return Done(request, slots[:count], slots[count:], queue_s, encode_s)
    if kind == _STATUS_KIND:
        (busy_s,) = _STATUS.unpack_from(body)
        return Status(busy_s, body[_STATUS.size :].decode())
    raise ValueError(f"unknown kind {kind}")


def _slots(slots: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(slots)}I", *slots)


def _unpack_slots(data: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(data) // 4}I", data)
