"""An encoded image that several instances of a request may name: fetched once and decoded once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

from dicom_io.codecs.raster import Raster, RasterFile
from dicom_io.decoding.pool import DecodePool
from dicom_io.errors import ImageError, ImageFault


class SharedRaster:
    """Fetches, opens and decodes on demand, each once; failures are shared, too.

    A failure is kept as a value: an exception would hold its frames, and by them the image's bytes.

    Parameters
    ----------
    fetch:
        Returns the encoded image; may take long. Called once.
    decoders:
        Decodes it.
    """

    def __init__(self, fetch: Callable[[], bytes], decoders: DecodePool, max_pixels: int) -> None:
        self._fetch: Callable[[], bytes] | None = fetch
        self._decoders = decoders
        self._max_pixels = max_pixels
        self._lock = threading.Lock()
        self._opened: tuple[RasterFile, bytes] | None = None
        self._size: tuple[int, int] | None = None
        self._decodes_elsewhere = False
        self._raster: Raster | None = None
        self._fault: ImageFault | None = None

    def size(self) -> tuple[int, int]:
        """Return (width, height) in pixels, having fetched the image and read its header."""
        with self._lock, self._once():
            if self._size is None:
                assert self._fetch is not None, "fetched once"
                fetch, self._fetch = self._fetch, None  # it may hold the image as text
                data = fetch()
                file = RasterFile(data, self._max_pixels)
                self._opened, self._size = (file, data), (file.width, file.height)
                self._decodes_elsewhere = not file.in_process
            return self._size

    @property
    def decodes_elsewhere(self) -> bool:
        """Whether ``raster`` waits for a decoding helper. ``size`` comes first."""
        return self._decodes_elsewhere

    def raster(self) -> Raster:
        """Return the decoded image; the encoded bytes are let go of. ``size`` comes first."""
        with self._lock, self._once():
            if self._raster is None:
                assert self._opened is not None, "size() comes first"
                (file, data), self._opened = self._opened, None
                self._raster = self._decoders.image(file, data, self._max_pixels)
            return self._raster

    @contextmanager
    def _once(self) -> Iterator[None]:
        """Raise a failure again instead of trying anew."""
        if self._fault is not None:
            raise ImageError.of(self._fault)
        try:
            yield
        except ImageError as error:
            self._fault = error.fault
            raise


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
