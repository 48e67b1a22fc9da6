"""A deflated data set (PS3.5, A.5), unpacked as it is read, within bounds."""

from __future__ import annotations

import io
import zlib
from typing import BinaryIO

from dicom_io.codecs.encoded_image import DamagedImage
from dicom_io.local.dicom_header import require_bounded
from serving.store.deidentify.refused import damaged

_CHUNK = 1 << 16


class Inflating(io.RawIOBase):
    """What a stream unfolds to; read it through a ``BufferedReader``.

    Raises
    ------
    Refused
        When it is damaged, cut off, or unfolds to far more than it is.
    """

    def __init__(self, packed: BinaryIO) -> None:
        self._packed = packed
        self._decoder = zlib.decompressobj(-zlib.MAX_WBITS)
        self._waiting = b""
        self._read = self._unfolded = 0

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        """Fill a buffer, or a part of it; 0 at the end."""
        while not self._decoder.eof:
            if not self._waiting:
                self._waiting = self._packed.read(_CHUNK)
                self._read += len(self._waiting)
                if not self._waiting:
                    raise damaged("its deflated data set is cut off")
            try:
                data = self._decoder.decompress(self._waiting, len(buffer))
                self._waiting = self._decoder.unconsumed_tail
                self._unfolded += len(data)
                require_bounded(self._unfolded, self._read)
            except zlib.error:
                raise damaged("its deflated data set is damaged") from None
            except DamagedImage as error:
                raise damaged(str(error)) from None
            if data:
                buffer[: len(data)] = data
                return len(data)
        return 0
