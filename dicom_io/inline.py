"""Images whose bytes are in the request, and the reading of any ordinary encoded image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pybase64

from dicom_io.colour import ToRgb
from dicom_io.patches import Patch, UInt8Array, crop
from dicom_io.raster import RasterFile
from dicom_io.resize import resize
from dicom_io.source import ReadOptions, ReadSession
from serving.errors import Code, ServiceError

MAX_RESIZED_SIDE = 10_000
"""Longest side, in pixels, that ``image_dimensions`` may ask for (Path Foundation API)."""

_CHANNELS_AT_MOST = 4


class RasterImage:
    """An encoded image opened for reading patches: decoded once, whatever their number.

    Parameters
    ----------
    data:
        The encoded image.
    """

    remote = False

    def __init__(self, data: bytes, options: ReadOptions, session: ReadSession) -> None:
        context = session.context
        self._file: RasterFile | None = RasterFile(data, context.max_image_pixels)
        self._options, self._context, self._measure = options, context, session.measure
        source = (self._file.width, self._file.height)
        self.width, self.height = options.image_dimensions or source
        if max(self.width, self.height) > MAX_RESIZED_SIDE and options.image_dimensions:
            raise ServiceError(
                Code.IMAGE_DIMENSION_ERROR,
                f"extensions.image_dimensions asks for {self.width}x{self.height} pixels; "
                f"at most {MAX_RESIZED_SIDE} pixels a side are allowed.",
            )
        self.memory_bytes = _CHANNELS_AT_MOST * (source[0] * source[1] + self.width * self.height)
        self._pixels: UInt8Array | None = None
        self._to_rgb: ToRgb | None = None

    def extra_reads(self, patches: int) -> int:
        """Return 0: the image is decoded once, whatever is read of it."""
        return 0

    def plan(self, patches: Sequence[Patch]) -> Sequence[int]:
        """Read patches in their own order: all come from one array."""
        return range(len(patches))

    def load(self) -> None:
        """Decode and resize; the encoded bytes are let go of."""
        assert self._file is not None, "load() is called once"
        with self._measure("decode"):
            raster, self._file = self._file.decode(), None
            self._pixels = resize(raster.pixels, self.width, self.height)
        self._to_rgb = self._context.transforms.to_rgb(
            raster.icc_profile, self._options.icc_target, raster.pixels.shape[2]
        )

    def fetch(self, patches: Sequence[Patch], deadline: float) -> None:
        """Do nothing: the bytes are here."""

    def read(self, patch: Patch) -> UInt8Array:
        """Cut out one patch, then transform its colours: decode, crop, ICC, RGB, in this order."""
        assert self._pixels is not None, "load() comes first"
        assert self._to_rgb is not None, "load() comes first"
        with self._measure("colour"):
            return self._to_rgb(crop(self._pixels, patch))

    def close(self) -> None:
        """Let go of the pixels."""
        self._pixels = None


@dataclass(frozen=True, slots=True)
class InlineSource:
    """``raw_image_bytes``: an encoded image as base64 text (RFC 4648, section 4)."""

    base64_text: str = field(repr=False)

    @property
    def remote(self) -> bool:
        """Its bytes are here."""
        return False

    def open(self, options: ReadOptions, session: ReadSession) -> RasterImage:
        """Decode the base64 and read the image's header."""
        try:
            data = pybase64.b64decode(self.base64_text, validate=True)
        except ValueError as error:
            raise ServiceError(
                Code.INVALID_REQUEST_FIELD_ERROR,
                "raw_image_bytes is not valid base64 (standard alphabet A-Z a-z 0-9 + /, padded with "
                "=, no line breaks).",
            ) from error
        return RasterImage(data, options, session)
