"""The data set of a file, by its transfer syntax: explicit, implicit or deflated."""

from __future__ import annotations

import io
from typing import BinaryIO

from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from serving.store.deidentify.elements import ElementReader
from serving.store.deidentify.file_meta import SourceMeta
from serving.store.deidentify.inflating import Inflating

_BUFFER = 1 << 18


def reader_of(stream: BinaryIO, size: int, meta: SourceMeta) -> ElementReader:
    """Return what reads the elements of the data set, little-endian, which the stream is at.

    Parameters
    ----------
    size:
        Of the file.
    """
    if meta.syntax == DeflatedExplicitVRLittleEndian:
        return ElementReader(io.BufferedReader(Inflating(stream), _BUFFER), explicit=True)
    return ElementReader(stream, explicit=meta.syntax != ImplicitVRLittleEndian, size=size, at=meta.at)
