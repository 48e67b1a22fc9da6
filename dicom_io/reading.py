"""The seam that every kind of image source implements, and the options they share."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from dicom_io.cache import FrameCache
from dicom_io.colour.profiles import IccTarget
from dicom_io.colour.transforms import ColourTransforms
from dicom_io.decoding.pool import DecodePool
from dicom_io.geometry import Patch, UInt8Array
from dicom_io.io_threads import IoThreads
from dicom_io.sources.shared_raster import RasterRegistry
from dicom_io.stages import ReadStage
from dicom_io.waiting import Cancellation
from dicom_io.web.dicomweb import DicomWebStore
from dicom_io.web.gcs import GcsStore

PATCHES_AT_ONCE = 8
"""Patches that one task reads, where nothing speaks for fewer."""

Measure = Callable[[ReadStage], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How an instance's pixels are to be read (the API's ``extensions``).

    Attributes
    ----------
    image_dimensions:
        (width, height) in pixels to resize the whole image to before patches are cut.
    icc_target:
        Colour space that the image's own ICC profile is transformed to.
    require_inside:
        Whether a patch that is partly outside of the image is an error (else it is black there).
    """

    image_dimensions: tuple[int, int] | None = None
    icc_target: IccTarget = IccTarget.NONE
    require_inside: bool = True


@dataclass(frozen=True, slots=True)
class ReadContext:
    """What sources share inside one process: limits, caches and connections.

    Attributes
    ----------
    dicomweb:
        Stores of DICOMweb series.
    gcs:
        Google Cloud Storage.
    frames:
        Decoded frames of DICOM levels.
    decoders:
        Decodes images, in helper processes where that could end this one.
    io:
        Threads that wait for stores.
    strict_dicom:
        Whether requirements that are only documented refuse an image.
    """

    max_image_pixels: int
    transforms: ColourTransforms
    dicomweb: DicomWebStore
    gcs: GcsStore
    frames: FrameCache[Hashable]
    decoders: DecodePool
    io: IoThreads
    strict_dicom: bool


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
        Adds the time of a ``with`` block to one of the request's stages.
    """

    context: ReadContext
    waits: Cancellation
    rasters: RasterRegistry
    measure: Measure

    @property
    def deadline(self) -> float:
        """``time.monotonic()`` seconds."""
        return self.waits.deadline


class OpenedImage(Protocol):
    """An image whose size is known and whose patches can be read.

    Attributes
    ----------
    width, height:
        Size in pixels of the frame that patches are given in (after any resize).
    memory_bytes:
        What reading it holds at its peak; the caller keeps the sum within a budget.
    patches_at_once:
        Patches that one task reads; known after ``plan``.
    remote:
        Whether ``fetch`` waits for a store.
    decodes_elsewhere:
        Whether ``load`` or ``read`` waits for a decoding helper, and a thread meant for computing should not.
    """

    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def memory_bytes(self) -> int: ...
    @property
    def patches_at_once(self) -> int: ...
    @property
    def remote(self) -> bool: ...
    @property
    def decodes_elsewhere(self) -> bool: ...

    def extra_reads(self, patches: int) -> int:
        """Return what reading so many patches counts for beyond the patches themselves."""

    def plan(self, patches: Sequence[Patch]) -> Sequence[int]:
        """Hear which patches will be read, begin to fetch, and return the best order to read them in."""

    def load(self) -> None:
        """Do the computing that all patches share. Called once, after ``plan`` and before ``read``."""

    def fetch(self, patches: Sequence[Patch]) -> None:
        """Wait until the bytes that these patches need are here."""

    def read(self, patch: Patch) -> UInt8Array:
        """Return one patch as uint8 RGB ``[height, width, 3]``; safe to call from many threads."""

    def close(self) -> None:
        """Stop fetching and let go."""


class Source(Protocol):
    """What an instance names.

    Attributes
    ----------
    remote:
        Whether opening it waits for a store.
    origin:
        Who is waited for: sources of the same origin have only a share of the threads that wait.
    shared_key:
        The same for sources that share one fetched image; ``None`` where nothing is shared.
    """

    @property
    def remote(self) -> bool: ...
    @property
    def origin(self) -> Hashable: ...
    @property
    def shared_key(self) -> Hashable | None: ...

    def open(self, options: ReadOptions, session: ReadSession) -> OpenedImage:
        """Open the image, reading no more than its header or metadata.

        Raises
        ------
        ServiceError
            With the code that the API names for the fault.
        """
