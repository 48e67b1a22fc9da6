"""Damage that keeps the structure: fields of headers changed one by one, bodies cut and endings restored."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable
from typing import Literal

from tests.fuzz.mutate import mutated_bytes

_INTERESTING = (
    0,
    1,
    2,
    3,
    7,
    8,
    15,
    16,
    127,
    128,
    255,
    256,
    32767,
    65535,
    65536,
    2**31 - 1,
    2**31,
    2**32 - 1,
)

Repair = Callable[[bytes], bytes]


def structured(chance: random.Random, data: bytes, repair: Repair) -> bytes:
    """Return an image with one to four of its fields or stretches changed, then put in order again."""
    found = bytearray(data)
    header = min(len(found), chance.choice((64, 200, 700)))
    for _ in range(chance.choice((1, 1, 2, 4))):
        match chance.randrange(6):
            case 0 | 1 | 2:
                _change_field(chance, found, chance.randrange(header))
            case 3:
                at = chance.randrange(len(found))
                found[at] ^= 1 << chance.randrange(8)
            case 4:
                at = chance.randrange(len(found))
                size = chance.choice((1, 8, 100, len(found) // 4 + 1))
                found[at : at + size] = chance.choice((b"", bytes(size), chance.randbytes(size)))
            case _:
                found = bytearray(mutated_bytes(chance, bytes(found), data))
        if not found:
            return b""
        header = min(header, len(found))
    return repair(bytes(found)) if chance.random() < 0.8 else bytes(found)


def _change_field(chance: random.Random, found: bytearray, at: int) -> None:
    size = chance.choice((1, 2, 4))
    order: Literal["big", "little"] = "big" if chance.random() < 0.5 else "little"
    value = int.from_bytes(found[at : at + size], order)
    changed = chance.choice((value + 1, value - 1, value * 2, value // 2, chance.choice(_INTERESTING)))
    size = len(found[at : at + size])
    found[at : at + size] = (changed % 256**size).to_bytes(size, order)


def keep(data: bytes) -> bytes:
    """Leave a format alone that has no lengths or endings to restore."""
    return data


def ended(data: bytes) -> bytes:
    """Put the end of a JPEG, JPEG-LS or JPEG 2000 image back."""
    return data if data.endswith(b"\xff\xd9") else data + b"\xff\xd9"


def tile_parts(data: bytes) -> bytes:
    """Make the last tile-part of a codestream reach to its end (ITU-T T.800, A.4.2)."""
    data = ended(data)
    at = data.rfind(b"\xff\x90\x00\x0a")
    if at < 0 or at + 10 > len(data):
        return data
    return data[: at + 6] + struct.pack(">I", len(data) - 2 - at) + data[at + 10 :]


def png_chunks(data: bytes) -> bytes:
    """Make the checksums of a PNG image's chunks right."""
    found, at = bytearray(data), 8
    while at + 12 <= len(found):
        (length,) = struct.unpack_from(">I", found, at)
        end = at + 8 + length
        if end + 4 > len(found):
            break
        found[end : end + 4] = struct.pack(">I", zlib.crc32(found[at + 4 : end]))
        at = end + 4
    return bytes(found)


def riff(data: bytes) -> bytes:
    """Make a RIFF file as long as it says."""
    return data[:4] + struct.pack("<I", max(0, len(data) - 8)) + data[8:]


def repair_of(data: bytes) -> Repair:
    """Return what puts an image in order again, by its first bytes."""
    for start, repair in (
        (b"\xff\xd8", ended),
        (b"\xff\x4f", tile_parts),
        (b"\x00\x00\x00\x0cjP", tile_parts),
        (b"\x89PNG", png_chunks),
        (b"RIFF", riff),
    ):
        if data.startswith(start):
            return repair
    return keep
