"""How much a JSON text unfolds to, judged before it is parsed: a store's metadata here, a request above."""

from __future__ import annotations


def unfolds_beyond(text: bytes | bytearray, containers: int) -> bool:
    """Return whether a JSON text may hold more objects and lists than that, or more than 8 times the values.

    A text of a few bytes an object takes a hundred times its size once parsed. Braces and commas inside of
    strings are counted, too: what the limits are meant for has few of them there.
    """
    return (
        text.count(b"{") + text.count(b"[") > containers
        or text.count(b",") + text.count(b":") > 8 * containers
    )
