"""What an encoding loses, and the most that it may."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from model.encoder import Vectors
from serving.api.encodings import Encoding

Float64Array = npt.NDArray[np.float64]


def unit(vectors: Vectors) -> Float64Array:
    """Return vectors of length 1."""
    rows = vectors.astype(np.float64)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def cosine_error(exact: Vectors, found: Vectors) -> Float64Array:
    """Return 1 - cosine of each pair of rows, ``[n]``."""
    return np.asarray(1 - (unit(exact) * unit(found)).sum(axis=1))


def error_bound(exact: Vectors, encoding: Encoding) -> Float64Array:
    """Return what the cosine error of each vector cannot exceed, ``[n]``.

    A vector that is off by at most r times its length is turned by at most the angle whose sine is r.
    """
    rows = exact.astype(np.float64)
    length, width = np.linalg.norm(rows, axis=1), rows.shape[1]
    if encoding is Encoding.BASE64_INT8:  # a number is off by half a step at most, the largest not at all
        off = np.sqrt(width - 1) * np.abs(rows).max(axis=1) / (2 * 127)
    else:  # half a unit in the last of 11 bits; below 2**-14, in the last of a fixed point
        off = np.hypot(length * 2.0**-11, np.sqrt(width) * 2.0**-25)
    return np.asarray(1 - np.sqrt(1 - np.minimum(off / length, 1) ** 2))
