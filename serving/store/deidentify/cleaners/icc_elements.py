"""How long the elements of ICC profiles are, by what they hold (ICC.1:2010, section 10)."""

from __future__ import annotations

import math
import struct

_PARAMETERS = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}
"""Numbers of a parametric curve, by its function (table 65)."""

_NEVER = 1 << 40


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
    elif kind == b"mpet":
        size = len(data)
    else:
        return None
    return data[:4] + bytes(4) + data[8:size] if size <= len(data) else None


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
    inputs, outputs = data[8:10]
    b, matrix, m, table, a = struct.unpack_from(">5I", data, 12)
    inner, outer = (outputs, inputs) if data[:4] == b"mAB " else (inputs, outputs)
    ends = [32, matrix + 48 if matrix else 0]
    ends += [
        _curves_end(data, start, count) for start, count in ((b, inner), (m, inner), (a, outer)) if start
    ]
    if table:
        cube = math.prod(data[table : table + min(inputs, 16)]) * outputs
        ends.append(table + 20 + cube * (data[table + 16] if table + 20 <= len(data) else _NEVER))
    return max(ends)


def _curves_end(data: bytes, start: int, count: int) -> int:
    end = start
    for _ in range(count):
        start = end + -end % 4
        end = start + _curve_size(data[start : start + 12])
        if end > len(data):
            return _NEVER
    return end
