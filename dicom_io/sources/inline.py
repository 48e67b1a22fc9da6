"""Images whose bytes are in the request."""

from __future__ import annotations

import pybase64

from dicom_io.errors import ImageCode, ImageError
from dicom_io.reading import ReadOptions
from dicom_io.sources.raster import RasterImage
from dicom_io.sources.session import ReadSession
from dicom_io.sources.shared_raster import SharedRaster


class InlineSource:
    """``raw_image_bytes``: an encoded image as base64 text (RFC 4648, section 4).

    It is opened once, and then lets go of the text: an image that failed must not stay until its request
    ends.
    """

    def __init__(self, base64_text: str) -> None:
        self._text = base64_text

    @property
    def remote(self) -> bool:
        """Its bytes are here."""
        return False

    @property
    def origin(self) -> None:
        """Nobody is waited for."""
        return

    @property
    def shared_key(self) -> None:
        """Each instance has its own bytes."""
        return

    def open(self, options: ReadOptions, session: ReadSession) -> RasterImage:
        """Decode the base64 and read the image's header."""
        context = session.context
        shared = SharedRaster(self._decode, context.decoders, context.max_image_pixels)
        return RasterImage(shared, options, session)

    def _decode(self) -> bytes:
        text, self._text = self._text, ""
        try:
            return pybase64.b64decode(text, validate=True)
        except ValueError as error:
            raise ImageError(
                ImageCode.INVALID_REQUEST_FIELD_ERROR,
                "raw_image_bytes is not valid base64 (standard alphabet A-Z a-z 0-9 + /, padded with "
                "=, no line breaks).",
            ) from error
