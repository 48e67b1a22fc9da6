"""An encoded image that several instances of a request may name: fetched once and decoded once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable

from dicom_io.dicom_file import DicomFile, is_dicom_file
from dicom_io.raster import Raster, RasterFile


class SharedRaster:
    """Fetches, opens and decodes on demand, each once; failures are shared, too.

    Parameters
    ----------
    fetch:
        Returns the encoded image; may take long.
    """

    def __init__(self, fetch: Callable[[], bytes], max_pixels: int) -> None:
        self._fetch = fetch
        self._max_pixels = max_pixels
        self._lock = threading.Lock()
        self._file: RasterFile | DicomFile | None = None
        self._size: tuple[int, int] | None = None
        self._raster: Raster | None = None
        self._error: Exception | None = None

    def size(self) -> tuple[int, int]:
        """Return (width, height) in pixels, having fetched the image and read its header."""
        with self._lock, _Once(self):
            if self._size is None:
                data = self._fetch()
                kind = DicomFile if is_dicom_file(data) else RasterFile
                self._file = kind(data, self._max_pixels)
                self._size = (self._file.width, self._file.height)
            return self._size

    def raster(self) -> Raster:
        """Return the decoded image; the encoded bytes are let go of. ``size`` comes first."""
        with self._lock, _Once(self):
            if self._raster is None:
                assert self._file is not None, "size() comes first"
                self._raster, self._file = self._file.decode(), None
            return self._raster

    def _fail(self, error: Exception) -> None:
        self._error, self._file = error, None


class _Once:
    """Raises a failure again instead of trying anew."""

    def __init__(self, shared: SharedRaster) -> None:
        self._shared = shared

    def __enter__(self) -> None:
        if self._shared._error is not None:
            raise self._shared._error

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, Exception):
            self._shared._fail(error)


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

    def get(self, key: Hashable, fetch: Callable[[], bytes], max_pixels: int) -> SharedRaster:
        """Return the image of a key."""
        with self._lock:
            if key not in self._rasters:
                self._rasters[key] = SharedRaster(fetch, max_pixels)
            return self._rasters[key]

    def done(self, key: Hashable) -> None:
        """Hear that one of the instances that name an image has been read."""
        with self._lock:
            self._uses[key] = self._uses.get(key, 1) - 1
            if self._uses[key] <= 0:
                self._rasters.pop(key, None)
