"""An encoded image that several instances of a request may name: fetched once and decoded once."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from dicom_io.codecs.raster import Raster, RasterFile
from dicom_io.decoding.pool import DecodePool
from dicom_io.geometry import UInt8Array
from dicom_io.once import Once


@dataclass(frozen=True, slots=True)
class Header:
    """What is known of an encoded image before it is decoded.

    Attributes
    ----------
    width, height:
        Pixels, as stored.
    bytes:
        Of the encoded image.
    decodes_elsewhere:
        Whether decoding waits for a decoding helper.
    format:
        What the image's format is called.
    syntax:
        Transfer syntax of the image in a DICOM file.
    digest:
        SHA-256 of the encoded image in hexadecimal, where it was asked for.
    """

    width: int
    height: int
    bytes: int
    decodes_elsewhere: bool
    format: str
    syntax: str | None
    digest: str | None


class SharedRaster:
    """Fetches, opens and decodes on demand, each once; failures are shared, too.

    Parameters
    ----------
    fetch:
        Returns the encoded image; may take long. Called once.
    decoders:
        Decodes it.
    traced:
        Whether the digest of its bytes will be asked for: they are let go of once it is decoded.
    """

    def __init__(
        self, fetch: Callable[[], bytes], decoders: DecodePool, max_pixels: int, *, traced: bool = False
    ) -> None:
        # Neither of the two refers to this object: it would hold itself, and an image that is opened but not
        # decoded would stay, with its bytes, until the garbage collector comes by.
        opened = Once(lambda: _Encoded(fetch(), max_pixels, traced=traced))
        self._opened = opened
        self._raster = Once(lambda: opened.get().decode(decoders))
        self._decoders = decoders

    def header(self) -> Header:
        """Return the image's header, having fetched the image."""
        return self._opened.get().header

    def raster(self) -> Raster:
        """Return the decoded image; the encoded bytes are let go of, whether it could be decoded or not."""
        return self._raster.get()

    def raster_at(self, place: UInt8Array) -> Raster:
        """Return the image, decoded to a place if that is possible; instead of ``raster``, by its only user.

        Parameters
        ----------
        place:
            See ``RasterFile.decode``.
        """
        return self._opened.get().decode(self._decoders, place)


class _Encoded:
    """An encoded image whose header has been read."""

    def __init__(self, data: bytes, max_pixels: int, *, traced: bool) -> None:
        file = RasterFile(data, max_pixels)
        digest = hashlib.sha256(data).hexdigest() if traced else None
        self.header = Header(
            file.width, file.height, len(data), not file.in_process, file.format, file.syntax, digest
        )
        self._max_pixels = max_pixels
        self._encoded: tuple[RasterFile, bytes] | None = (file, data)

    def decode(self, decoders: DecodePool, place: UInt8Array | None = None) -> Raster:
        """Return the pixels, and let go of the bytes; called once."""
        encoded, self._encoded = self._encoded, None
        assert encoded is not None  # called once
        file, data = encoded
        return decoders.image(file, data, self._max_pixels, place)


class RasterRegistry:
    """The shared images of one request, kept from their first use to their last.

    Parameters
    ----------
    uses:
        How many instances name each image.
    """

    def __init__(self, uses: dict[Hashable, int]) -> None:
        self._uses = dict(uses)
        self._rasters: dict[Hashable, SharedRaster] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], SharedRaster]) -> SharedRaster:
        """Return the image of a key."""
        with self._lock:
            if key not in self._rasters:
                self._rasters[key] = make()
            return self._rasters[key]

    def done(self, key: Hashable) -> None:
        """Note that one of the instances that name an image has been read."""
        with self._lock:
            self._uses[key] = self._uses.get(key, 1) - 1
            if self._uses[key] <= 0:
                self._rasters.pop(key, None)
