"""Ordinary encoded images as sources of patches: bytes that are here, and objects in Cloud Storage."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from dicom_io.errors import ImageError
from dicom_io.reading import ReadOptions
from dicom_io.sources.raster import RasterImage
from dicom_io.sources.session import ReadSession
from dicom_io.sources.shared_raster import SharedRaster
from dicom_io.web.credentials import BearerToken, fingerprint
from dicom_io.web.gcs import GcsUri


@dataclass(frozen=True, slots=True)
class EncodedSource:
    """An encoded image whose bytes are in this process.

    Attributes
    ----------
    data:
        Returns the bytes; called whenever the source is opened. Raises ImageError.
    """

    data: Callable[[], bytes] = field(repr=False)
    origin = None
    shared_key = None

    def open(self, options: ReadOptions, session: ReadSession) -> RasterImage:
        """Read the image's header."""
        context = session.context
        shared = SharedRaster(self.data, context.decoders, context.max_image_pixels, traced=session.traced)
        return RasterImage(shared, options, session, alone=True)


@dataclass(frozen=True, slots=True)
class GcsSource:
    """An object in Cloud Storage: an encoded image, or a DICOM file of a single image."""

    uri: GcsUri
    token: BearerToken | None = field(repr=False)
    origin = "gs"
    """Cloud Storage as a whole is waited for."""

    @property
    def shared_key(self) -> Hashable:
        """Instances that name the same object with the same token share it."""
        return self.uri, fingerprint(self.token)

    def open(self, options: ReadOptions, session: ReadSession) -> RasterImage:
        """Download the object, unless another instance has, and read its header."""
        context, key = session.context, self.shared_key
        context.gcs.check(self.uri)
        shared = session.rasters.get(
            key,
            lambda: SharedRaster(
                lambda: context.gcs.fetch(self.uri, self.token, session.waits),
                context.decoders,
                context.max_image_pixels,
                traced=session.traced,
            ),
        )
        try:
            return RasterImage(shared, options, session, lambda: session.rasters.done(key))
        except ImageError:
            session.rasters.done(key)  # those who share the image must not keep it for this one
            raise
