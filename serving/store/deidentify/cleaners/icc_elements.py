"""How long the elements of ICC profiles are, by what they hold (ICC.1:2010, section 10)."""

from __future__ import annotations

import math
import struct

_PARAMETERS = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}
"""Numbers of a parametric curve, by its function (table 65)."""

_NEVER = 1 << 40
_LARGE = 256 << 16
"""In fixed-point numbers of 16 bits: colours, gammas and matrices are smaller, four letters larger."""


def trimmed(data: bytes) -> bytes | None:
    """Return an element at the length that its contents have.

    Returns
    -------
    ``None`` for a type from which no colour is computed, and for one that is cut off.
    """
    kind = data[:4]
    if kind == b"XYZ ":
        size = 20
    elif kind in (b"curv", b"para"):
        size = _curve_size(data)
    elif kind == b"sf32":
        size = 44
    elif kind in (b"mft1", b"mft2"):
        size = _table_size(data)
    elif kind in (b"mAB ", b"mBA "):
        size = _stages_size(data)
    else:  # "mpet" as well, whose many kinds of stages nothing here knows
        return None
    if size > len(data) or not _are_numbers(kind, data[8:size]):
        return None
    return data[:4] + bytes(4) + _without_gaps(kind, data[:size])[8:]


def _are_numbers(kind: bytes, body: bytes) -> bool:
    """Return whether fixed-point numbers are of a size that those of colours have; letters are not."""
    if kind == b"para":
        body = body[4:]
    elif kind not in (b"XYZ ", b"sf32"):
        return True
    return all(abs(number) < _LARGE for (number,) in struct.iter_unpack(">i", body))


def _without_gaps(kind: bytes, data: bytes) -> bytes:
    """Return an element with zeros wherever it is said that nothing is."""
    clean = bytearray(data)
    if kind == b"para":
        clean[10:12] = bytes(2)
    elif kind in (b"mft1", b"mft2"):
        clean[11] = 0
    elif kind in (b"mAB ", b"mBA "):
        clean[10:12] = bytes(2)
        whole, clean = clean, bytearray(len(data))
        for start, end in [(0, 32), *_stages(data)]:
            clean[start:end] = whole[start:end]
    return bytes(clean)


def _curve_size(data: bytes) -> int:
    if len(data) < 12:
        return _NEVER
    if data[:4] == b"curv":
        return 12 + 2 * int.from_bytes(data[8:12], "big")
    numbers = _PARAMETERS.get(int.from_bytes(data[8:10], "big"))
    return _NEVER if data[:4] != b"para" or numbers is None else 12 + 4 * numbers


def _table_size(data: bytes) -> int:
    """Return the length of a table of 8 or 16 bits (10.8 and 10.9)."""
    if len(data) < 52:
        return _NEVER
    inputs, outputs, points = data[8:11]
    cube: int = points**inputs * outputs
    if data[:4] == b"mft1":
        return 48 + 256 * inputs + cube + 256 * outputs
    entries_in, entries_out = struct.unpack_from(">HH", data, 48)
    return 52 + 2 * (int(entries_in) * inputs + cube + int(entries_out) * outputs)


def _stages_size(data: bytes) -> int:
    """Return where the last of curves, matrix and table ends (10.10 and 10.11)."""
    if len(data) < 32:
        return _NEVER
    return max([32, *(end for _, end in _stages(data))])


def _stages(data: bytes) -> list[tuple[int, int]]:
    """Return where curves, matrix and table are, as far as they are within the element."""
    inputs, outputs = data[8:10]
    b, matrix, m, table, a = struct.unpack_from(">5I", data, 12)
    inner, outer = (outputs, inputs) if data[:4] == b"mAB " else (inputs, outputs)
    found = [(matrix, matrix + 48)] if matrix else []
    for start, count in ((b, inner), (m, inner), (a, outer)):
        if start:
            found += _curves(data, start, count)
    if table:
        cube = math.prod(data[table : table + min(inputs, 16)]) * outputs
        width = data[table + 16] if table + 20 <= len(data) else _NEVER
        found += [
            (table, table + min(inputs, 16)),
            (table + 16, table + 17),
            (table + 20, table + 20 + cube * width),
        ]
    return found


def _curves(data: bytes, start: int, count: int) -> list[tuple[int, int]]:
    found = list[tuple[int, int]]()
    for _ in range(count):
        size = _curve_size(data[start : start + 12])
        found.append((start, start + size))
        if start + size > len(data):
            break
        start += size + -size % 4
    return found
