"""What sources are, and what they share: in a process, and in one request."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Protocol

from dicom_io.colour.transforms import ColourTransforms
from dicom_io.decoding.pool import DecodePool
from dicom_io.io_threads import IoThreads
from dicom_io.reading import Measure, OpenedImage, ReadOptions
from dicom_io.slides.opening import LevelOpener
from dicom_io.slides.series import Series
from dicom_io.sources.shared_raster import RasterRegistry
from dicom_io.waiting import Cancellation
from dicom_io.web.credentials import BearerToken
from dicom_io.web.gcs import GcsStore
from dicom_io.web.series_path import SeriesPath


class SeriesStores(Protocol):
    """Whoever has the series that requests name by address: stores behind HTTP, and perhaps one in files."""

    def series(self, path: SeriesPath, token: BearerToken | None, waits: Cancellation) -> Series:
        """Open a series; nothing is read before something of it is asked for.

        Raises
        ------
        ImageError
            When its store may not be reached, or does not let the caller in.
        """
        ...


@dataclass(frozen=True, slots=True)
class NamedSeries:
    """A series of slides that a store has.

    Attributes
    ----------
    name:
        For people; what its DICOM says, of any content.
    """

    path: SeriesPath
    name: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SeriesList:
    """Series that somebody may read, in the order of arrival, and how many more there are."""

    series: tuple[NamedSeries, ...]
    remaining: int


class SeriesLister(Protocol):
    """A store that tells which series it has."""

    def listed(self, token: BearerToken | None) -> SeriesList:
        """Return the series of slides that a token lets its holder read.

        Raises
        ------
        ImageError
            INVALID_CREDENTIALS_ERROR for a token that may not read, or none.
        """
        ...


@dataclass(frozen=True, slots=True)
class ReadContext:
    """What sources share inside one process: limits, caches and connections.

    Attributes
    ----------
    dicomweb:
        Stores of DICOMweb series.
    gcs:
        Google Cloud Storage.
    levels:
        Opens levels of slides.
    decoders:
        Decodes images, in helper processes where that could end this one.
    io:
        Threads that wait for stores.
    lister:
        Lists the series of the store on this machine; ``None`` where there is none.
    """

    max_image_pixels: int
    transforms: ColourTransforms
    dicomweb: SeriesStores
    gcs: GcsStore
    levels: LevelOpener
    decoders: DecodePool
    io: IoThreads
    lister: SeriesLister | None = None


@dataclass(frozen=True, slots=True)
class ReadSession:
    """What the sources of one request share.

    Attributes
    ----------
    waits:
        Ends what the request waits for, at its deadline or when its client is gone.
    rasters:
        Images that several instances name.
    measure:
        Adds the time of a ``with`` block to one of the request's stages: fetch, decode or colour.
    traced:
        Whether some image will be asked what its patches have been made of (``OpenedImage.reading``).
    """

    context: ReadContext
    waits: Cancellation
    rasters: RasterRegistry
    measure: Measure
    traced: bool = False


class Source(Protocol):
    """What an instance names. A value: it opens nothing by itself, and may be opened more than once.

    But for an image that a request has brought with it: it lets go of its bytes when it is opened.

    Attributes
    ----------
    origin:
        The store that opening it waits for, if any: sources of the same origin have only a share of the
        threads that wait.
    shared_key:
        The same for sources that share one fetched image; ``None`` where nothing is shared.
    """

    @property
    def origin(self) -> Hashable | None: ...
    @property
    def shared_key(self) -> Hashable | None: ...

    def open(self, options: ReadOptions, session: ReadSession) -> OpenedImage:
        """Open the image, reading no more than its header or metadata.

        Raises
        ------
        ImageError
        """
        ...
