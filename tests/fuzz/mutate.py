"""Small damage to JSON and to bytes, from a seeded source of chance."""

from __future__ import annotations

import copy
import random
from typing import Any

_INTERESTING = (0, 1, 2, 7, 8, 127, 128, 255, 256, 65535, 65536, 2**31 - 1, 2**32 - 1)


def mutated_bytes(chance: random.Random, data: bytes, other: bytes = b"") -> bytes:
    """Return bytes with some of them flipped, cut off, put in, overwritten or exchanged."""
    found = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 16))):
        if not found:
            return bytes(found)
        at = chance.randrange(len(found))
        if chance.random() < 0.3:
            at = min(at, chance.randrange(200))  # headers decide most
        match chance.randrange(7):
            case 0 | 1:
                found[at] ^= 1 << chance.randrange(8)
            case 2:
                del found[at:]
            case 3:
                found[at:at] = chance.randbytes(chance.randrange(1, 9))
            case 4:
                number = chance.choice(_INTERESTING)
                size = chance.choice((1, 2, 4))
                order = chance.choice(("big", "little"))
                found[at : at + size] = (number % 256**size).to_bytes(size, order)
            case 5:
                del found[at : at + chance.randrange(1, 64)]
            case _:
                start = chance.randrange(len(other)) if other else 0
                found[at:] = other[start:]
    return bytes(found)


def _value(chance: random.Random) -> object:
    return chance.choice(
        (
            None,
            True,
            False,
            0,
            -1,
            1.5,
            224.0,
            223,
            2**31,
            2**63,
            -(2**64),
            1e308,
            "",
            "x",
            "224",
            "é\u0000\ud7ff",
            "A" * chance.choice((3, 70, 5000)),
            [],
            {},
            [[]],
            [{}],
            {"": {}},
            {"code": "INTERNAL_ERROR"},
            [None] * 3,
            "gs://bucket/o",
            "gs:///placeholder.png",
            "http://127.0.0.1:9/studies/1.2/series/3.4",
            "../..",
            "NONE",
        )
    )


def mutated_json(chance: random.Random, document: Any) -> Any:
    """Return a JSON document with some of its nodes replaced, removed, doubled, renamed or wrapped."""
    document = copy.deepcopy(document)
    for _ in range(chance.choice((1, 1, 2, 3, 6))):
        nodes = _nodes(document)
        if not nodes:
            return document
        holder, key = chance.choice(nodes)
        match chance.randrange(6):
            case 0 | 1:
                holder[key] = _value(chance)
            case 2:
                del holder[key]
            case 3 if isinstance(holder, list):
                holder.insert(chance.randrange(len(holder) + 1), copy.deepcopy(holder[key]))
            case 3 | 4 if isinstance(holder, dict):
                holder[
                    chance.choice(("x", "instance", "b64", "extensions", "dicom_path", "image", "patches"))
                ] = holder.pop(key)
            case _:
                holder[key] = chance.choice(
                    ([holder[key]], {"instance": holder[key]}, str(holder[key])[:100])
                )
    return document


def _nodes(value: Any) -> list[tuple[Any, Any]]:
    """Return every place of a document as its holder and key."""
    found: list[tuple[Any, Any]] = []
    stack = [value]
    while stack:
        holder = stack.pop()
        keys = (
            list(holder)
            if isinstance(holder, dict)
            else range(len(holder))
            if isinstance(holder, list)
            else ()
        )
        for key in keys:
            found.append((holder, key))
            stack.append(holder[key])
    return found
